import { describe, expect, test } from "vitest";
import { floats } from "../../adapters/cast.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import { STRATEGIES } from "../../aggregators/index.ts";
import { missingRate } from "../../aggregators/wrappers/adaptive-proximal.ts";
import { adapter, aggregateOnce, dense, plain, update } from "./small.ts";

const TEXT = "base_model.model.model.layers.0.q_proj.lora_B.weight";
const IMAGE = "base_model.model.vision_model.layers.0.q_proj.lora_B.weight";
const AUDIO = "base_model.model.audio_tower.proj.weight";
const global = adapter({ [TEXT]: [[0], [0]], [IMAGE]: [[0], [0], [0]], [AUDIO]: [7] });

function sent(value: number): Record<string, number[] | number[][]> {
  return { [TEXT]: [[value], [value]], [IMAGE]: [[value], [value], [value]], [AUDIO]: [value] };
}

function plan(built: ReturnType<typeof buildStrategy>, state = built.strategy.init(global)) {
  return built.strategy.plan?.(state, { round: 2, client: "c1", global }) ?? {};
}

describe("ownership", () => {
  const wrapped = (name: string) => buildStrategy({ name }, [{ name: "ownership" }]);
  const clients = [
    update("c1", 10, sent(2), { touched: { text: 10, image: 1 } }),
    update("c2", 30, sent(6), { touched: { text: 30, image: 3 } }),
    update("c3", 60, sent(100), { touched: { text: 60, image: 0 } }),
  ];

  test("weighs image tensors by examples with images, over the clients that have any", () => {
    const out = plain(aggregateOnce(wrapped("fedavg"), global, clients).global.tensors);
    expect(out[IMAGE]).toEqual([5, 5, 5]); // (1·2 + 3·6) / 4
    expect(out[TEXT]).toEqual([62, 62]); // (10·2 + 30·6 + 60·100) / 100
  });

  test("keeps tensors that no client's examples reached, bit for bit", () => {
    const out = aggregateOnce(wrapped("fedavg"), global, clients).global.tensors;
    expect(out.get(AUDIO)).toBe(global.tensors.get(AUDIO));
  });

  test("keeps a group with fewer owners than the rule needs", () => {
    const many = Array.from({ length: 7 }, (_, k) =>
      update(`c${k}`, 1, sent(k), { touched: { text: 1, ...(k < 2 && { image: 1 }) } }),
    );
    const out = aggregateOnce(wrapped("krum"), global, many).global.tensors;
    expect(out.get(IMAGE)).toBe(global.tensors.get(IMAGE));
    expect(plain(out)[TEXT]).not.toEqual([0, 0]);
  });

  test("keeps a state for each group: moments of the image tensors move only in rounds with images", () => {
    const built = wrapped("fedadam");
    const blind = [update("c1", 10, sent(2), { touched: { text: 10 } })];
    const first = aggregateOnce(built, global, clients);
    const second = aggregateOnce(built, first.global, blind, { state: first.state, round: 2 });
    expect(second.state.tensors["image.m"]).toEqual(first.state.tensors["image.m"]);
    expect(second.state.scalars["image.t"]).toBe(1);
    expect(second.state.scalars["shared.t"]).toBe(2);
  });

  test.each(STRATEGIES.map(({ name }) => name))("goes around %s", (name) => {
    const many = Array.from({ length: 7 }, (_, k) =>
      update(`c${k}`, 5, sent(k), {
        touched: { text: 5, image: k },
        metrics: { loss: 1, lossBefore: 1, learningRateMean: 0.1 },
        extras: { fisher: sent(1) },
      }),
    );
    const result = aggregateOnce(wrapped(name), global, many);
    expect([...result.global.tensors.keys()]).toEqual([...global.tensors.keys()]);
  });

  test("lets FLoRA add to the base what a group's owners sent; a group that nobody is in keeps what it added", () => {
    const [seen, read] = ["vision_model.q_proj", "layers.0.q_proj"].map((path) => `base_model.model.${path}`);
    const modules = (b: number): Record<string, number[][]> => ({
      [`${seen}.lora_A.weight`]: [[1, 2]],
      [`${seen}.lora_B.weight`]: [[b]],
      [`${read}.lora_A.weight`]: [[3, 1]],
      [`${read}.lora_B.weight`]: [[b], [0]],
    });
    const start = adapter(modules(0));
    const built = wrapped("flora");
    const first = aggregateOnce(built, start, [
      update("c1", 10, modules(4), { touched: { text: 10, image: 5 } }),
      update("c2", 30, modules(8), { touched: { text: 30 } }),
    ]);
    const product = ({ baseDelta }: typeof first, path: string) => {
      const factor = (part: string) => baseDelta!.tensors.get(`${path}.lora_${part}.weight`)!;
      return dense(factor("B"), factor("A"));
    };
    expect(product(first, seen!)).toEqual([4, 8]); // c1 alone: 4 · (1, 2)
    expect(product(first, read!)).toEqual([21, 7, 0, 0]); // (10 · 4 + 30 · 8) / 40 = 7, times (3, 1)
    const blind = [update("c2", 30, modules(1), { touched: { text: 30 } })];
    const second = aggregateOnce(built, first.global, blind, { state: first.state, round: 2 });
    expect(product(second, seen!)).toEqual([4, 8]);
    for (const [i, value] of product(second, read!).entries()) {
      expect(value).toBeCloseTo([24, 8, 0, 0][i]!, 12); // 7 + 1 times (3, 1), cut to the rank of a 2 x 2 matrix
    }
  });

  test("hands out corrections of all groups", () => {
    const built = wrapped("scaffold");
    const metrics = { learningRateMean: 0.1 };
    const first = aggregateOnce(built, global, [
      update("c1", 1, sent(1), { metrics, touched: { text: 1, image: 1 } }),
      update("c2", 1, sent(3), { metrics, touched: { text: 1, image: 1 } }),
    ]);
    const { corrections } = plan(built, first.state);
    expect([...corrections!.gradient!.keys()]).toEqual([TEXT, IMAGE].sort());
  });
});

describe("clip", () => {
  const two = adapter({ a: [0, 0], b: [0] });

  test("scales a change down to C over all tensors together, and leaves short ones alone", () => {
    const built = buildStrategy({ name: "fedavg", weights: "uniform" }, [{ name: "clip", norm: 1 }]);
    const out = aggregateOnce(built, two, [
      update("c1", 1, { a: [2, 1], b: [2] }), // norm 3: divided by it
      update("c2", 1, { a: [0.3, 0], b: [0] }),
    ]);
    expect(plain(out.global.tensors).a![0]).toBeCloseTo((2 / 3 + 0.3) / 2, 14);
    expect(plain(out.global.tensors).b![0]).toBeCloseTo(1 / 3, 14);
    expect(out.report).toMatchObject({ clipped: 1, clipNorm: 1 });
  });

  test("leaves a zero update zero, where dividing by its norm would not", () => {
    const built = buildStrategy({ name: "fedavg" }, [{ name: "clip", norm: 1 }]);
    expect(plain(aggregateOnce(built, two, [update("c1", 1, { a: [0, 0], b: [0] })]).global.tensors)).toEqual(
      {
        a: [0, 0],
        b: [0],
      },
    );
  });

  test("noise has standard deviation z C / n on each value of the mean", () => {
    const size = 20_000;
    const big = adapter({ a: new Array<number>(size).fill(0), b: [0] });
    const built = buildStrategy({ name: "fedavg" }, [{ name: "clip", norm: 2, noiseMultiplier: 3 }]);
    const still = ["c1", "c2", "c3", "c4"].map((client) =>
      update(client, 1, { a: new Array<number>(size).fill(0), b: [0] }),
    );
    const values = floats(aggregateOnce(built, big, still).global.tensors.get("a")!);
    const std = deviation(values);
    // 3 · 2 / 4 = 1.5; the estimate's own deviation is 1.5 / √40000 = 0.0075
    expect(Math.abs(std - 1.5)).toBeLessThan(5 * 0.0075);
  });

  test("passes through the order of the list: clipping stands before ownership", () => {
    const built = buildStrategy({ name: "fedavg" }, [{ name: "clip", norm: 1 }, { name: "ownership" }]);
    expect(built.resolved.wrappers.map(({ name }) => name)).toEqual(["clip", "ownership"]);
    const out = aggregateOnce(built, global, [update("c1", 4, sent(10), { touched: { text: 4, image: 4 } })]);
    const moved = [...plain(out.global.tensors)[TEXT]!, ...plain(out.global.tensors)[IMAGE]!];
    // Norm over all tensors, the audio tensor's change of 3 included.
    const norm = Math.sqrt(5 * 100 + 9);
    for (const value of moved) expect(value).toBeCloseTo(10 / norm, 12);
  });
});

describe("server-optimizer", () => {
  test("takes the strategy's step times the learning rate, with momentum", () => {
    const built = buildStrategy({ name: "fedavg" }, [
      { name: "server-optimizer", learningRate: 0.5, momentum: 0.5 },
    ]);
    const one = adapter({ a: [0], b: [0, 0] });
    const first = aggregateOnce(built, one, [update("c1", 1, { a: [4], b: [2, 2] })]);
    expect(plain(first.global.tensors)).toEqual({ a: [2], b: [1, 1] });
    const second = aggregateOnce(built, first.global, [update("c1", 1, { a: [4], b: [1, 1] })], {
      state: first.state,
    });
    // Δ = 2, 0; v = 0.5·4 + 2 = 4, 0.5·2 = 1
    expect(plain(second.global.tensors)).toEqual({ a: [4], b: [1.5, 1.5] });
  });

  test("is FedAvgM around FedAvg", () => {
    const entries = [update("c1", 1, sent(3)), update("c2", 3, sent(1))];
    const wrapped = buildStrategy({ name: "fedavg" }, [
      { name: "server-optimizer", learningRate: 0.5, momentum: 0.9 },
    ]);
    const plainly = buildStrategy({ name: "fedavgm", learningRate: 0.5, momentum: 0.9 });
    expect(plain(aggregateOnce(wrapped, global, entries).global.tensors)).toEqual(
      plain(aggregateOnce(plainly, global, entries).global.tensors),
    );
  });
});

describe("travels", () => {
  const built = buildStrategy({ name: "fedavg" }, [{ name: "travels", tensors: "vision_model" }]);

  test("tells clients what travels and ignores the rest even if it comes", () => {
    expect(plan(built)).toEqual({ travels: "vision_model" });
    const out = aggregateOnce(built, global, [update("c1", 1, sent(5))]);
    expect(plain(out.global.tensors)).toEqual({ [TEXT]: [0, 0], [IMAGE]: [5, 5, 5], [AUDIO]: [7] });
  });

  test("narrows what the strategy itself lets travel", () => {
    const both = buildStrategy({ name: "ffa-lora" }, [{ name: "travels", tensors: "vision_model" }]);
    const pattern = new RegExp(plan(both).travels!);
    expect(pattern.test(IMAGE)).toBe(true);
    expect(pattern.test(TEXT)).toBe(false);
    expect(pattern.test(IMAGE.replace("lora_B", "lora_A"))).toBe(false);
  });

  test("refuses what is no regular expression", () => {
    expect(() => buildStrategy({ name: "fedavg" }, [{ name: "travels", tensors: "(" }])).toThrow(
      "must be a regular expression",
    );
  });
});

describe("proximal", () => {
  test("preset fedmllm holds layers 4 to 23 with weight 0.1", () => {
    const built = buildStrategy({ name: "fedadagrad" }, [{ name: "proximal", preset: "fedmllm" }]);
    expect(plan(built)).toEqual({ proximal: { mu: 0.01, weight: 0.1, layers: [4, 23] } });
  });
});

describe("adaptive-proximal", () => {
  const deep = adapter(
    Object.fromEntries(
      Array.from({ length: 28 }, (_, layer) => [`base_model.model.layers.${layer}.q_proj.weight`, [0]]),
    ),
  );
  const built = buildStrategy({ name: "fedavg" }, [{ name: "adaptive-proximal" }]);
  const planAfter = (touched: { text: number; image: number }[]) => {
    const entries = touched.map((counts, k) =>
      update(`c${k}`, 10, Object.fromEntries([...deep.tensors.keys()].map((name) => [name, [1]])), {
        touched: counts,
      }),
    );
    const { state } = aggregateOnce(built, deep, entries);
    return built.strategy.plan!(state, { round: 2, client: "c0", global: deep });
  };

  test("adds nothing before anything is measured, and nothing where no modality is missing", () => {
    expect(built.strategy.plan!(built.strategy.init(deep), { round: 1, client: "c0", global: deep })).toEqual(
      {},
    );
    expect(planAfter([{ text: 10, image: 10 }])).toEqual({});
  });

  test("gives the published weight and range where every example has one of two modalities", () => {
    expect(
      planAfter([
        { text: 10, image: 0 },
        { text: 0, image: 10 },
      ]),
    ).toEqual({
      proximal: { mu: 0.01, weight: 0.1, layers: [4, 23] },
    });
  });

  test("grows with the share that is missing", () => {
    const weights = [9, 7, 5, 2].map((image) => planAfter([{ text: 10, image }]).proximal!.weight);
    expect([...weights].sort((a, b) => a - b)).toEqual(weights);
    expect(missingRate([{ ...update("c", 10, {}).info, touched: { text: 10, image: 5 } }])).toBeCloseTo(
      0.25,
      12,
    );
  });
});

describe("noise", () => {
  test("adds the wanted deviation to what the round changed, and to nothing else", () => {
    const size = 10_000;
    const big = adapter({ a: new Array<number>(size).fill(0), b: [0] });
    const built = buildStrategy({ name: "fedavg" }, [{ name: "noise", std: 0.2 }]);
    const out = aggregateOnce(built, big, [update("c1", 1, { a: new Array<number>(size).fill(0) })]).global
      .tensors;
    const std = deviation(floats(out.get("a")!));
    // deviation of the estimate: 0.2 / √20000 = 0.0014
    expect(Math.abs(std - 0.2)).toBeLessThan(5 * 0.0014);
    expect(out.get("b")).toBe(big.tensors.get("b"));
  });
});

/** Root of the mean square. */
function deviation(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0) / values.length);
}
