/** Rounds from files, in parts and in threads: the same bits as one thread with everything in memory. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import { layoutOf, writeSafetensors } from "../../adapters/safetensors.ts";
import { writeHeader } from "../../adapters/safetensors-header.ts";
import { float32, type Tensor, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { factorPairs } from "../../adapters/tensor-names.ts";
import { type Aggregator, openAggregator, split } from "../../aggregators/aggregator.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import { STRATEGIES } from "../../aggregators/index.ts";
import { aggregateInPieces, piecesOf } from "../../aggregators/pieces.ts";
import { aggregateRound, aggregateUpdates, contextOf, type RoundInput } from "../../aggregators/round.ts";
import { encodeState } from "../../aggregators/state-file.ts";
import type { AggregateResult, UpdateInfo } from "../../aggregators/strategy.ts";
import { collectUpdates, type UpdateFiles } from "../../aggregators/updates.ts";
import { sha256 } from "../../base/hash.ts";
import { createRng } from "../../base/rng.ts";
import { CONFIG, entry } from "./small.ts";

const CLIENTS = 7;
/** One tensor is longer than a part and no multiple of a vector. */
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  "base_model.model.layers.0.q_proj.lora_A.weight": [2, 9001],
  "base_model.model.layers.0.q_proj.lora_B.weight": [13, 2],
  "base_model.model.layers.1.v_proj.lora_A.weight": [2, 5],
  "base_model.model.layers.1.v_proj.lora_B.weight": [3, 2],
  "base_model.model.vision.connector.weight": [4, 3],
  "base_model.model.layers.0.q_proj.lora_R.weight": [2, 2],
};
const config = { ...CONFIG, rank: 2, alpha: 2, targets: ["q_proj", "v_proj"] };
const global: Adapter = { config, tensors: drawn("global") };
let directory: string;
let aggregator: Aggregator;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "fedloom-aggregator-"));
  aggregator = openAggregator({ threads: 2 });
});

afterAll(async () => {
  await aggregator.close();
  rmSync(directory, { recursive: true });
});

function drawn(seed: string, size = 1): TensorSet {
  return tensorSet(
    Object.entries(SHAPES).map(([name, shape]) => {
      const rng = createRng(seed).fork(name);
      const count = shape.reduce((product, dim) => product * dim, 1);
      return [
        name,
        float32(
          shape,
          Float32Array.from({ length: count }, () => size * rng.normal()),
        ),
      ] as const;
    }),
  );
}

function infoOf(k: number): UpdateInfo {
  return {
    client: `c${k}`,
    examples: 3 + k,
    steps: 2,
    tokens: 10,
    touched: { image: 1, text: 2 },
    metrics: { loss: 1, lossBefore: 2, learningRateMean: 0.1 },
    adapter: config,
  };
}

function inputOf(name: string): RoundInput & { readonly sets: readonly TensorSet[] } {
  const built = buildStrategy({ name });
  const state = built.strategy.init(global);
  const extras = built.strategy.plan?.(state, { round: 1, client: "c0", global }).extras ?? [];
  const sets = Array.from({ length: CLIENTS }, (_, k) => drawn(`c${k}`));
  const updates: UpdateFiles[] = sets.map((set, k) => {
    const write = (file: string, tensors: TensorSet) => {
      const path = join(directory, `${name}-${file}.safetensors`);
      writeFileSync(path, writeSafetensors(tensors));
      return path;
    };
    const squares = () =>
      new Map(
        [...set].map(([tensor, value]) => [tensor, { ...value, data: floats(value).map((x) => x * x) }]),
      );
    return {
      info: infoOf(k),
      model: write(`c${k}`, set),
      extras: Object.fromEntries(
        extras.map((kind) => [kind, write(`c${k}-${kind}`, squares() as TensorSet)]),
      ),
    };
  });
  return { built, state, round: 1, global, seed: 5, totalClients: CLIENTS, updates, sets };
}

function bits({ global: next, baseDelta, state }: AggregateResult): unknown {
  const plain = (part: Adapter | undefined) =>
    [...(part?.tensors ?? [])].map(([name, { dtype, shape, data }]) => [name, dtype, shape, [...data]]);
  return { global: plain(next), base: plain(baseDelta), state: [...encodeState(state)] };
}

test.each(STRATEGIES.map(({ name }) => name))(
  "%s gives the same bits in two threads as in one",
  async (name) => {
    const { sets: _sets, ...input } = inputOf(name);
    const alone = await aggregateRound(input);
    const threaded = await aggregator.aggregate(input);
    expect(bits(threaded)).toEqual(bits(alone));
    for (const [key, value] of Object.entries(alone.report)) {
      // Sums of the diagnostics are added up part by part: another order of float64 terms.
      expect(threaded.report[key], key).toBeCloseTo(value, 9);
    }
    expect(Object.keys(threaded.report).sort()).toEqual(Object.keys(alone.report).sort());
  },
);

test("long sums of products give the same bits in one thread, in two, and after others in the same memory", async () => {
  const rank = 8;
  const long = (seed: string, widths: readonly number[]): TensorSet =>
    tensorSet(
      widths.flatMap((width, layer) =>
        (["lora_A", "lora_B"] as const).map((part) => {
          const rng = createRng(seed).fork(String(layer), part);
          const shape = part === "lora_A" ? [rank, width] : [width + 9, rank];
          const values = Float32Array.from({ length: shape[0]! * shape[1]! }, () => rng.normal());
          return [`base_model.model.layers.${layer}.q_proj.${part}.weight`, float32(shape, values)] as const;
        }),
      ),
    );
  const adapterConfig = { ...config, rank, alpha: rank, targets: ["q_proj"] };
  const widths = [61, 130, 47];
  const built = buildStrategy({ name: "flexlora" });
  const input: RoundInput = {
    built,
    state: built.strategy.init({ config: adapterConfig, tensors: new Map() }),
    round: 1,
    global: { config: adapterConfig, tensors: long("global", widths) },
    seed: 5,
    totalClients: CLIENTS,
    updates: Array.from({ length: CLIENTS }, (_, k) => {
      const model = join(directory, `long-${k}.safetensors`);
      writeFileSync(model, writeSafetensors(long(`c${k}`, widths)));
      return { info: { ...infoOf(k), adapter: adapterConfig }, model };
    }),
  };
  const alone = bits(await aggregateRound(input)); // stacks of 56 rows
  expect(bits(await aggregator.aggregate(input))).toEqual(alone);
  expect(bits(await aggregateRound(input))).toEqual(alone);
});

const byTensor = STRATEGIES.flatMap(({ name, needs }) =>
  typeof needs !== "function" && needs.separable === "tensor" ? [name] : [],
);

test.each(byTensor)("%s gives the same bits piece by piece as in one", async (name) => {
  const { sets: _sets, ...input } = inputOf(name);
  const order = writeHeader(layoutOf(global.tensors), {}).order;
  const whole = await aggregateRound(input);
  const emitted: Tensor[] = [];
  const pieces: number[] = [];
  const made = await aggregateInPieces(input, {
    aggregator,
    order,
    pieceBytes: 100,
    read: (tensor) => structuredClone(global.tensors.get(tensor)!),
    async emit(tensors) {
      pieces.push(tensors.length);
      emitted.push(...structuredClone(tensors));
    },
  });
  expect(pieces.length).toBeGreaterThan(2);
  const next = { config, tensors: tensorSet(order.map((tensor, i) => [tensor, emitted[i]!])) };
  expect(bits({ ...whole, state: made.state, global: next })).toEqual(bits(whole));
  expect(Object.keys(made.report).sort()).toEqual(Object.keys(whole.report).sort());
  for (const [key, value] of Object.entries(whole.report)) {
    // Sums of the diagnostics are added up piece by piece: another order of float64 terms.
    expect(made.report[key], key).toBeCloseTo(value, 9);
  }
});

test("pieces keep the order and the factors of a module together, and are as large as may be", () => {
  const { order } = writeHeader(layoutOf(global.tensors), {});
  for (const limit of [1, 100, 300, 1e9]) {
    const pieces = piecesOf(global, order, limit);
    expect(pieces.flat()).toEqual(order);
    for (const { a, b } of factorPairs(order))
      expect(pieces.findIndex((piece) => piece.includes(a))).toBe(
        pieces.findIndex((piece) => piece.includes(b)),
      );
  }
  expect(piecesOf(global, order, 1e9)).toHaveLength(1);
});

test("files that are not what was written are named, and nothing is aggregated from them", async () => {
  const { sets: _sets, ...input } = inputOf("fedavg");
  const hashes = new Map(input.updates.map(({ model }) => [model, sha256(readFileSync(model))]));
  const sound = await aggregator.aggregate({ ...input, hashes });
  expect(bits(sound)).toEqual(bits(await aggregateRound(input)));
  for (const path of hashes.keys()) {
    const content = readFileSync(path);
    const flipped = Uint8Array.from(content);
    flipped[flipped.length - 1]! ^= 1; // the last bit of the last tensor: still a good file, of another number
    writeFileSync(path, flipped);
    for (const aggregate of [aggregator.aggregate, aggregateRound]) {
      await expect(aggregate({ ...input, hashes })).rejects.toMatchObject({
        code: "F4005",
        details: { path },
      });
    }
    writeFileSync(path, content);
  }
});

test.each(["fedavg", "fedadam", "median", "trimmed-mean"])(
  "%s gives the same bits by vector instructions as by plain loops",
  async (name) => {
    const { sets, ...input } = inputOf(name);
    // Sources that cannot be read in parts take the plain loops.
    const whole = sets.map((set, k) => {
      const { tensors, info } = entry(infoOf(k), set);
      const { readInto: _parts, ...source } = tensors;
      return { info, tensors: source };
    });
    const plain = aggregateUpdates(input.built, input.state, contextOf(input), collectUpdates(whole));
    expect(bits(await aggregateRound(input))).toEqual(bits(plain));
  },
);

test.each(["krum", "bulyan", "rfa"])(
  "%s chooses the same clients by vector instructions as by plain loops",
  async (name) => {
    const { sets, ...input } = inputOf(name);
    const whole = sets.map((set, k) => {
      const { tensors, info } = entry(infoOf(k), set);
      const { readInto: _parts, ...source } = tensors;
      return { info, tensors: source };
    });
    const plain = aggregateUpdates(input.built, input.state, contextOf(input), collectUpdates(whole));
    const fast = await aggregateRound({ ...input, diagnostics: false });
    for (const [tensor, value] of plain.global.tensors) {
      const got = floats(fast.global.tensors.get(tensor)!);
      // Distances are summed in another order: float64 rounding, far below float32's.
      for (const [i, x] of floats(value).entries()) expect(Math.abs(got[i]! - x)).toBeLessThan(1e-6);
    }
  },
);

test("brings a refusal over from the thread with its code", async () => {
  const { sets: _sets, ...input } = inputOf("krum");
  await expect(aggregator.aggregate({ ...input, updates: input.updates.slice(0, 2) })).rejects.toMatchObject({
    code: "F3103",
    message: 'Cannot aggregate round 1 with "krum": at least 5 usable updates are wanted, got 2',
  });
});

test("deals modules out by size and keeps their factors together", () => {
  const bins = split(global, "tensor", 2);
  expect(bins).toHaveLength(2);
  expect(new Set(bins.flatMap((bin) => [...bin]))).toEqual(new Set(global.tensors.keys()));
  for (const bin of bins) {
    expect(bin.has("base_model.model.layers.1.v_proj.lora_A.weight")).toBe(
      bin.has("base_model.model.layers.1.v_proj.lora_B.weight"),
    );
  }
  expect(split(global, "adapter", 4)).toHaveLength(1);
});
