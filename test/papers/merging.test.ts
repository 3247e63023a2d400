/** Fisher merging, task arithmetic, TIES, DARE and adaptive clipping. */
import { describe, expect, test } from "vitest";
import { floats } from "../../adapters/cast.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import { createRng } from "../../base/rng.ts";
import { adapter, aggregateOnce, plain, update } from "../aggregators/small.ts";

const global = adapter({ a: [[0, 0]], b: [0] });

describe("Matena and Raffel 2022, Merging Models with Fisher-Weighted Averaging", () => {
  test("equation 3: θ*^(j) = Σ λ_i F_i^(j) θ_i^(j) / Σ λ_i F_i^(j)", () => {
    const entries = [
      update("c1", 1, { a: [[2, 4]], b: [1] }, { extras: { fisher: { a: [[3, 1]], b: [1] } } }),
      update("c2", 3, { a: [[6, 8]], b: [5] }, { extras: { fisher: { a: [[1, 0]], b: [1] } } }),
    ];
    const out = plain(aggregateOnce({ name: "fisher" }, global, entries).global.tensors);
    // λ = 1, 3. First: (3·2 + 3·1·6)/(3 + 3) = 4. Second: c2 knows nothing but the floor. b: (1·1 + 3·5)/4 = 4
    expect(out.a![0]).toBeCloseTo(4, 12);
    expect(out.a![1]).toBeCloseTo(4, 4);
    expect(out.b![0]).toBeCloseTo(4, 12);
  });

  test('"choosing parameters that approximately maximize the joint likelihood of the posteriors of the models\' parameters", each "a Gaussian distribution whose precision matrix corresponds to its Fisher information": none near the merged ones has a larger one', () => {
    const [means, precisions] = [
      [
        [2, 4, 1],
        [6, 8, 5],
        [-1, 3, 2],
      ],
      [
        [3, 0.5, 1],
        [1, 2, 1],
        [0.2, 4, 7],
      ],
    ];
    const shaped = ([x, y, z]: readonly number[]) => ({ a: [[x!, y!]], b: [z!] });
    const entries = means!.map((mean, k) =>
      update(`c${k}`, k + 1, shaped(mean), { extras: { fisher: shaped(precisions![k]!) } }),
    );
    const merged = aggregateOnce({ name: "fisher" }, global, entries).global.tensors;
    const found = [...floats(merged.get("a")!), ...floats(merged.get("b")!)];
    // Σ λ_k log N(θ; θ_k, F_k⁻¹), but for constants
    const likelihood = (theta: readonly number[]) =>
      means!.reduce(
        (sum, mean, k) =>
          sum - ((k + 1) / 2) * theta.reduce((t, x, j) => t + precisions![k]![j]! * (x - mean[j]!) ** 2, 0),
        0,
      );
    const rng = createRng("elsewhere");
    for (let trial = 0; trial < 100; trial++) {
      expect(likelihood(found.map((x) => x + 0.01 * rng.normal()))).toBeLessThan(likelihood(found));
    }
  });

  test('"Computing a simple average of the models\' parameters therefore corresponds to making an isotropic Gaussian approximation": equal Fisher information is plain averaging', () => {
    const same = { a: [[7, 7]], b: [7] };
    const entries = [
      update("c1", 1, { a: [[2, 4]], b: [1] }, { extras: { fisher: same } }),
      update("c2", 1, { a: [[6, 8]], b: [5] }, { extras: { fisher: same } }),
    ];
    expect(plain(aggregateOnce({ name: "fisher" }, global, entries).global.tensors)).toEqual({
      a: [4, 6],
      b: [3],
    });
  });

  test("where nobody has any information the floor makes it the weighted mean, not 0/0", () => {
    const none = { a: [[0, 0]], b: [0] };
    const entries = [
      update("c1", 1, { a: [[2, 4]], b: [1] }, { extras: { fisher: none } }),
      update("c2", 1, { a: [[6, 8]], b: [5] }, { extras: { fisher: none } }),
    ];
    expect(plain(aggregateOnce({ name: "fisher" }, global, entries).global.tensors)).toEqual({
      a: [4, 6],
      b: [3],
    });
  });

  test("asks the clients for what it needs", () => {
    const { strategy } = buildStrategy({ name: "fisher", estimate: "fisher-running" });
    expect(strategy.plan!(strategy.init(global), { round: 1, client: "c1", global })).toEqual({
      extras: ["fisher-running"],
    });
  });
});

describe("Ilharco et al. 2023, Editing Models with Task Arithmetic", () => {
  test("θ_new = θ + λ Σ τ_i, a sum and not a mean", () => {
    const entries = [update("c1", 9, { a: [[1, 0]], b: [1] }), update("c2", 1, { a: [[1, 2]], b: [-1] })];
    const out = plain(
      aggregateOnce({ name: "task-arithmetic", lambda: 0.5 }, global, entries).global.tensors,
    );
    expect(out).toEqual({ a: [1, 1], b: [0] });
  });
});

describe("Yadav et al. 2023, TIES-Merging, Algorithm 1", () => {
  const wide = adapter({ a: [[0, 0, 0, 0]], b: [0, 0] });

  test("trims small changes, elects a sign, and averages only the changes that agree with it", () => {
    const entries = [
      update("c1", 1, { a: [[4, 0.1, -6, 1]], b: [3, 0.1] }),
      update("c2", 1, { a: [[-1, 5, 8, 0.1]], b: [2, 0.1] }),
    ];
    // Half kept of each tensor: c1 4, −6 | 3; c2 5, 8 | 2. Signs: +, +, + (8−6 > 0), none.
    const out = plain(aggregateOnce({ name: "ties", density: 0.5 }, wide, entries).global.tensors);
    expect(out).toEqual({ a: [4, 5, 8, 0], b: [2.5, 0] });
  });

  test("at density 1 nothing is trimmed", () => {
    const entries = [update("c1", 1, { a: [[1, 2, 3, 4]], b: [5, 6] })];
    expect(plain(aggregateOnce({ name: "ties", density: 1 }, wide, entries).global.tensors)).toEqual({
      a: [1, 2, 3, 4],
      b: [5, 6],
    });
  });
});

describe("Yu et al. 2024 (DARE)", () => {
  test("drops a share p and rescales the rest by 1/(1 − p): the expected change stays", () => {
    const size = 20_000;
    const big = adapter({ a: new Array<number>(size).fill(0), b: [0] });
    const entries = [update("c1", 1, { a: new Array<number>(size).fill(1), b: [1] })];
    const values = floats(aggregateOnce({ name: "dare", drop: 0.9 }, big, entries).global.tensors.get("a")!);
    const kept = values.filter((value) => value !== 0);
    expect(new Set(kept.map((value) => Number(value.toFixed(9))))).toEqual(new Set([10]));
    // Binomial(20000, 0.1): standard deviation 42; five of them
    expect(Math.abs(kept.length - 2000)).toBeLessThan(5 * 42.5);
  });

  test("draws the same again", () => {
    const entries = [update("c1", 1, { a: [[1, 1]], b: [1] }), update("c2", 1, { a: [[2, 2]], b: [2] })];
    const once = aggregateOnce({ name: "dare", drop: 0.5 }, global, entries);
    expect(aggregateOnce({ name: "dare", drop: 0.5 }, global, entries).global.tensors).toEqual(
      once.global.tensors,
    );
  });
});

describe("Andrew et al. 2021, Differentially Private Learning with Adaptive Clipping", () => {
  const far = (k: number) => update(`c${k}`, 1, { a: [[10 * (k + 1), 0]], b: [0] });
  const clipNorms = (preset: string, entries = [0, 1, 2, 3].map(far)) => {
    const built = buildStrategy({ name: "fedavg", weights: "uniform" }, [{ name: "clip", preset, norm: 1 }]);
    return aggregateOnce(built, global, entries).state.scalars["clip.norm"]!;
  };

  test("C ← C · exp(−η_C (b̄ − γ)) with b the share of updates not clipped: when all are clipped, C grows", () => {
    expect(clipNorms("adaptive")).toBeCloseTo(Math.exp(0.2 * 0.5), 12);
  });

  test("preset flower-adaptive moves C the other way, as Flower 1.41 does", () => {
    expect(clipNorms("flower-adaptive")).toBeCloseTo(Math.exp(-0.2 * 0.5), 12);
  });

  test("when none is clipped, C shrinks to the quantile", () => {
    expect(clipNorms("adaptive", [update("c1", 1, { a: [[0.1, 0]], b: [0] })])).toBeCloseTo(
      Math.exp(-0.2 * 0.5),
      12,
    );
  });
});
