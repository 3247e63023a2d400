/**
 * What frozen layers give, computed once for each row and given to the step: loss and gradients are those of the whole
 * step, on every reference model (plain and fused exports, q4, classifiers), with padding packed away, with dropout,
 * with activations computed again and with several clients in one pass.
 */
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { openSafetensors } from "../../../adapters/safetensors.ts";
import { float32, sizeOf, type Tensor, tensor } from "../../../adapters/tensor.ts";
import { createRng, type Rng } from "../../../base/rng.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import type {
  Batch,
  Engine,
  EngineOptions,
  Front,
  Share,
  StepResult,
} from "../../../training/onnx/engine.ts";
import { openEngine } from "../../../training/onnx/open.ts";
import { type ModelCase, modelCases } from "../../golden/models-directory.ts";

/** Largest difference, relative to a tensor's largest entry: the golden tests' bound. */
const SAME = 1e-4;
/** Of a batch of 4; a padded batch of so many positions is packed. */
const LENGTHS = [64, 40, 61, 20];

/** Sessions of several shapes are opened; on a busy machine that takes a while. */
vi.setConfig({ testTimeout: 240_000 });

const all = modelCases(process.env.GOLDEN_MODELS ?? join(import.meta.dirname, "../../golden/models"));
/** Each decoder once; omni-tiny's has one layer, before which nothing is frozen. */
const cases = [...new Map(all.map((one) => [one.decoder, one])).values()].filter(
  ({ decoder }) => !decoder.includes("omni-tiny"),
);
const SMOLLM = cases.find(({ decoder }) => decoder.endsWith("smollm-tiny/onnx/model.onnx"))!;
const SMOLVLM = cases.find(({ decoder }) => decoder.includes("smolvlm-tiny"))!;

const layerOf = (path: string): number => Number(/\.layers?\.(\d+)\./.exec(path)?.[1] ?? -1);

/** LoRA on the layers from the last one on that `layers` counts. */
async function opened({ decoder, objective }: ModelCase, more: Partial<EngineOptions> = {}, layers = 1) {
  const file = openGraphFile(decoder);
  const probe = await openEngine({ file, lora: [], objective, threads: 1 });
  const paths = probe.modules.map(({ path }) => path);
  await probe.close();
  const last = Math.max(...paths.map(layerOf));
  const lora = paths
    .filter((path) => layerOf(path) > last - layers)
    .map((path) => ({ path, rank: 2, scale: 2 }));
  return openEngine({ file, lora, objective, threads: 1, ...more });
}

const normal = (rng: Rng, shape: readonly number[], scale: number): Tensor =>
  float32(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => rng.normal() * scale),
  );

const int64 = (shape: readonly number[], value: (at: number) => number): Tensor =>
  tensor(
    "I64",
    shape,
    BigInt64Array.from({ length: sizeOf(shape) }, (_, i) => BigInt(value(i))),
  );

/** Rows of the given lengths; pictures have no length. */
function shareOf(engine: Engine, wanted: ModelCase, seed: string, lengths = LENGTHS): Share {
  const rng = createRng(seed);
  const length = Math.max(...lengths);
  const shape = [lengths.length, length];
  const isReal = (at: number): boolean => at % length < lengths[Math.floor(at / length)]!;
  const inputs = new Map<string, Tensor>();
  for (const { name, shape: own } of engine.inputs) {
    if (name === "attention_mask")
      inputs.set(
        name,
        int64(shape, (at) => (isReal(at) ? 1 : 0)),
      );
    if (name === "input_ids")
      inputs.set(
        name,
        int64(shape, () => rng.below(90)),
      );
    if (name === "inputs_embeds") inputs.set(name, normal(rng, [...shape, own[2] as number], 1));
    if (name === "pixel_values") {
      const file = openSafetensors(join(wanted.reference, "inputs.safetensors"));
      inputs.set(name, normal(rng, [lengths.length, ...file.read(name).shape.slice(1)], 1));
      file.close();
    }
  }
  const labels =
    wanted.objective === "classes"
      ? int64([lengths.length], () => rng.below(2))
      : int64(shape, (at) => (isReal(at) && at % 3 === 0 ? at % 30 : -100));
  const parameters = new Map(engine.parameters.map(({ name, shape: own }) => [name, normal(rng, own, 0.2)]));
  return { batch: { inputs, labels, seed: "mask" }, parameters };
}

/** Each row's front by itself, without padding, and all of them one under the other, with nothing on padding. */
async function withFront(engine: Engine, share: Share, lengths = LENGTHS): Promise<Share> {
  const length = Math.max(...lengths);
  let front: Front | undefined;
  for (const [r, own] of lengths.entries()) {
    const inputs = new Map(
      [...share.batch.inputs].map(([name, whole]) => [
        name,
        rowOf(whole, r, name === "pixel_values" ? undefined : own),
      ]),
    );
    const { place, states } = (await engine.front({ inputs }))!;
    const [, positions, width] = states.shape as [number, number, number];
    const T = share.batch.inputs.has("pixel_values") ? positions : length;
    front ??= {
      place,
      states: float32([lengths.length, T, width], new Float32Array(lengths.length * T * width)),
    };
    expect(place).toBe(front.place);
    (front.states.data as Float32Array).set(states.data as Float32Array, r * T * width);
  }
  return { ...share, batch: { ...share.batch, front: front! } };
}

function rowOf(whole: Tensor, r: number, length: number | undefined): Tensor {
  const [rows, ...rest] = whole.shape as [number, ...number[]];
  const size = whole.data.length / rows;
  const shape = length === undefined ? rest : [length, ...rest.slice(1)];
  const data = whole.data.slice(r * size, r * size + sizeOf(shape));
  return { ...whole, shape: [1, ...shape], data };
}

function expectSame(got: StepResult, wanted: StepResult): void {
  expect(got.labels).toBe(wanted.labels);
  expect(Math.abs(got.lossSum / wanted.lossSum - 1)).toBeLessThan(1e-5);
  expect([...got.gradients.keys()]).toEqual([...wanted.gradients.keys()]);
  for (const [name, gradient] of wanted.gradients) {
    const [mine, theirs] = [got.gradients.get(name)!.data, gradient.data] as [Float32Array, Float32Array];
    const largest = theirs.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const farthest = theirs.reduce((max, v, i) => Math.max(max, Math.abs(v - mine[i]!)), 0);
    expect(largest, name).toBeGreaterThan(0);
    expect(farthest / largest, name).toBeLessThan(SAME);
  }
}

describe("a step that begins at the lowest trained layer gives what the whole step gives", () => {
  test.each(cases)("$name", async (wanted) => {
    const engine = await opened(wanted);
    const share = shareOf(engine, wanted, "one");
    const begun = await withFront(engine, share);
    expectSame(
      await engine.step(begun.batch, share.parameters),
      await engine.step(share.batch, share.parameters),
    );
    const [less, more] = [await engine.estimate(begun.batch), await engine.estimate(share.batch)];
    expect(less.weightBytes).toBeLessThan(more.weightBytes);
    await engine.close();
  });

  test.each([
    { name: "dropout, whose masks are those of the whole step", of: SMOLLM, more: { dropout: 0.3 } },
    { name: "activations computed again", of: SMOLVLM, more: { recompute: true } },
    { name: "some activations computed again", of: SMOLVLM, more: { recompute: "cheap" as const } },
    { name: "a norm trained whole", of: SMOLLM, more: { saved: ["model.norm"] } },
  ])("$name", async ({ of, more }) => {
    const engine = await opened(of, more);
    const share = shareOf(engine, of, "two");
    const begun = await withFront(engine, share);
    expectSame(
      await engine.step(begun.batch, share.parameters),
      await engine.step(share.batch, share.parameters),
    );
    await engine.close();
  });

  test("several clients in one pass", async () => {
    const engine = await opened(SMOLVLM, { dropout: 0.1 });
    const lengths = [[30, 12], [17], [25, 31]];
    const shares = lengths.map((own, i) => shareOf(engine, SMOLVLM, `client ${i}`, own));
    const begun: Share[] = [];
    for (const [i, share] of shares.entries()) begun.push(await withFront(engine, share, lengths[i]!));
    const together = await engine.stepTogether(begun);
    for (const [i, { batch, parameters }] of shares.entries())
      expectSame(together[i]!, await engine.step(batch, parameters));
    await engine.close();
  });
});

test.each([
  { name: "its upper layer", wanted: /encoder\.layers\.1\./ },
  { name: "the connector alone", wanted: /connector/ },
])("an encoder gives the features and the gradients of $name", async ({ wanted }) => {
  const file = openGraphFile(SMOLVLM.encoders[0]!.file);
  const probe = await openEngine({ file, lora: [], objective: "none", threads: 1 });
  const paths = probe.modules.map(({ path }) => path).filter((path) => wanted.test(path));
  await probe.close();
  const lora = paths.map((path) => ({ path, rank: 2, scale: 2 }));
  const engine = await openEngine({ file, lora, objective: "none", dropout: 0.2, threads: 1 });
  const all = openSafetensors(join(SMOLVLM.reference, "inputs.safetensors"));
  const inputs = new Map(
    ["pixel_attention_mask", "pixel_values"].map((name) => [name, rowOf(all.read(name), 0, undefined)]),
  );
  all.close();
  const rng = createRng("encoder");
  const parameters = new Map(engine.parameters.map(({ name, shape }) => [name, normal(rng, shape, 0.2)]));
  const batch = { inputs, seed: "mask" };
  const begun = { ...batch, front: (await engine.front(batch))! };
  const [features, theirs] = [
    await engine.forward(begun, parameters),
    await engine.forward(batch, parameters),
  ];
  const result = {
    lossSum: 1,
    labels: 1,
    gradients: new Map([["features", features]]),
    inputGradients: new Map(),
  };
  expectSame(result, { ...result, gradients: new Map([["features", theirs]]) });
  const slope = normal(rng, theirs.shape, 1);
  const mine = await engine.backward(begun, parameters, slope);
  expectSame({ ...result, ...mine }, { ...result, ...(await engine.backward(batch, parameters, slope)) });
  await engine.close();
});

test("what is given decides: other states, another loss", async () => {
  const engine = await opened(SMOLLM);
  const share = shareOf(engine, SMOLLM, "one");
  const { batch, parameters } = await withFront(engine, share);
  const { place, states } = batch.front!;
  const other: Batch = {
    ...batch,
    front: { place, states: { ...states, data: (states.data as Float32Array).map((v) => 2 * v + 1) } },
  };
  const [{ lossSum: mine }, { lossSum: given }] = [
    await engine.step(batch, parameters),
    await engine.step(other, parameters),
  ];
  expect(Math.abs(given / mine - 1)).toBeGreaterThan(1e-3);
  await engine.close();
});

describe("there is no front", () => {
  test.each([
    { name: "all layers are trained", of: SMOLLM, more: {}, layers: 9 },
    { name: "the embedding is trained", of: SMOLLM, more: { saved: ["model.embed_tokens"] }, layers: 1 },
    {
      name: "frozen factors below may be other ones in the next round",
      of: SMOLLM,
      more: { frozen: "." },
      layers: 9,
    },
    {
      name: "a gradient goes on to the inputs",
      of: SMOLVLM,
      more: { inputGradients: ["inputs_embeds"] },
      layers: 1,
    },
  ])("where $name", async ({ of, more, layers }) => {
    const engine = await opened(of, more, layers);
    const { batch } = shareOf(engine, of, "one");
    expect(await engine.front(batch)).toBeUndefined();
    expect(await engine.front(batch)).toBeUndefined();
    await engine.close();
  });
});
