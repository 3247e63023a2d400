/** A padded batch computes its real tokens alone, and gets what it got with all positions computed. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { float32, type Tensor, type TensorSet, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import type { Engine, EngineOptions, StepResult } from "../../../training/onnx/engine.ts";
import { openEngine } from "../../../training/onnx/open.ts";
import { packingOf } from "../../../training/onnx/packed-rows.ts";

const MODELS = join(import.meta.dirname, "../../golden/models");
const VLM = join(import.meta.dirname, "../../../assets/models/smolvlm-tiny/onnx/decoder_model_merged.onnx");
const LENGTHS = [96, 40, 61, 20];
const LENGTH = 96;

/** Products over other numbers of rows are summed in another order; relative to the largest entry of a tensor. */
const SAME = 2e-5;

const int64 = (shape: readonly number[], value: (at: number) => number): Tensor =>
  tensor(
    "I64",
    shape,
    BigInt64Array.from({ length: shape.reduce((n, dim) => n * dim, 1) }, (_, i) => BigInt(value(i))),
  );
const isReal = (at: number): boolean => at % LENGTH < LENGTHS[Math.floor(at / LENGTH)]!;

async function opened(file: string, more: Partial<EngineOptions>) {
  const probe = await openEngine({ file: openGraphFile(file), lora: [], objective: "tokens", threads: 1 });
  const paths = probe.modules.map(({ path }) => path).filter((path) => /layers\.\d+\..*_proj$/.test(path));
  await probe.close();
  const lora = paths.map((path) => ({ path, rank: 2, scale: 2 }));
  const engine = await openEngine({
    file: openGraphFile(file),
    lora,
    objective: "tokens",
    threads: 1,
    ...more,
  });
  const rng = createRng("packed");
  const parameters = tensorSet(
    engine.parameters.map(({ name, shape }) => [
      name,
      float32(
        shape,
        Float32Array.from({ length: shape.reduce((n, dim) => n * dim, 1) }, () => rng.normal() * 0.2),
      ),
    ]),
  );
  return { engine, parameters };
}

/** @param masked says which positions are real; with a causal mask the answer is the same without it */
function batchOf(engine: Engine, masked: boolean, everyLabel: number) {
  const rng = createRng("batch");
  const shape = [LENGTHS.length, LENGTH] as const;
  const ids = int64(shape, () => rng.below(90));
  const labels = int64(shape, (at) => (isReal(at) && at % everyLabel === 0 ? at % 50 : -100));
  const width = engine.inputs.find(({ name }) => name === "inputs_embeds")?.shape[2] as number;
  const embeds = (): Tensor =>
    float32(
      [...shape, width],
      Float32Array.from({ length: 4 * LENGTH * width }, () => rng.normal() * 0.3),
    );
  const inputs: TensorSet = tensorSet([
    width === undefined ? ["input_ids", ids] : ["inputs_embeds", embeds()],
    ["attention_mask", int64(shape, (at) => (!masked || isReal(at) ? 1 : 0))],
    ["position_ids", int64(shape, (at) => at % LENGTH)],
  ]);
  return { inputs, labels, seed: "mask" };
}

function expectSame(packed: StepResult, whole: StepResult): void {
  expect(packed.lossSum).toBeCloseTo(whole.lossSum, 3);
  expect([...packed.gradients.keys()]).toEqual([...whole.gradients.keys()]);
  for (const [name, { data }] of [...whole.gradients, ...whole.inputGradients]) {
    const other = (packed.gradients.get(name) ?? packed.inputGradients.get(name)!).data as Float32Array;
    const values = data as Float32Array; // gradients are F32
    let [largest, difference] = [0, 0];
    values.forEach((v, i) => {
      largest = Math.max(largest, Math.abs(v));
      difference = Math.max(difference, Math.abs(v - other[i]!));
    });
    expect(largest, name).toBeGreaterThan(0);
    expect(difference / largest, name).toBeLessThan(SAME);
  }
}

const model = (name: string, file = "model.onnx"): string => join(MODELS, name, "onnx", file);

describe("a padded batch", () => {
  test.each([
    { name: "embeddings given", file: VLM, more: {}, labels: 5 },
    { name: "their gradient", file: VLM, more: { inputGradients: ["inputs_embeds"] }, labels: 5 },
    { name: "dropout", file: VLM, more: { dropout: 0.3 }, labels: 5 },
    { name: "all tokens labelled", file: VLM, more: {}, labels: 1 },
    { name: "activations computed again", file: VLM, more: { recompute: true }, labels: 5 },
    {
      name: "activations computed again, embeddings inside",
      file: model("smollm-tiny"),
      more: { recompute: true, dropout: 0.2 },
      labels: 3,
    },
    { name: "embeddings inside", file: model("smollm-tiny"), more: {}, labels: 3 },
    { name: "fused operators", file: model("smollm-tiny-fused"), more: {}, labels: 3 },
    {
      name: "another export",
      file: model("smollm-tiny-alt", "model_dynamo_opset18.onnx"),
      more: {},
      labels: 1,
    },
    {
      name: "a trained embedding",
      file: model("smollm-tiny"),
      more: { saved: ["model.embed_tokens"] },
      labels: 3,
    },
    { name: "a quantized base", file: model("smollm-tiny-q4", "model_q4.onnx"), more: {}, labels: 3 },
  ])("gives the gradients of all its positions: $name", async ({ file, more, labels }) => {
    const { engine, parameters } = await opened(file, more);
    const [padded, full] = [batchOf(engine, true, labels), batchOf(engine, false, labels)];
    expectSame(await engine.step(padded, parameters), await engine.step(full, parameters));
    const [less, all] = [await engine.estimate(padded), await engine.estimate(full)];
    expect(less.activationBytes).toBeLessThan(all.activationBytes);
    await engine.close();
  });
});

test("what is computed again is that of the real tokens: less is kept than without either", async () => {
  const plain = await opened(VLM, {});
  const again = await opened(VLM, { recompute: true });
  const bytes = async ({ engine }: typeof plain, masked: boolean) =>
    (await engine.estimate(batchOf(engine, masked, 5))).activationBytes;
  const [packed, full] = [await bytes(again, true), await bytes(again, false)];
  expect(packed).toBeLessThan(full);
  expect(packed).toBeLessThan(await bytes(plain, true));
  await plain.engine.close();
  await again.engine.close();
});

describe("several clients with padded batches in one pass", () => {
  test.each([
    { name: "embeddings given", file: VLM, more: {} },
    { name: "dropout", file: VLM, more: { dropout: 0.3 } },
    { name: "activations computed again", file: VLM, more: { recompute: true } },
    { name: "embeddings inside", file: model("smollm-tiny"), more: {} },
    { name: "packed projections", file: model("smollm-tiny-fused"), more: {} },
    { name: "a quantized base", file: model("smollm-tiny-q4", "model_q4.onnx"), more: {} },
  ])("get what each gets alone, padding computed: $name", async ({ file, more }) => {
    const { engine, parameters } = await opened(file, more);
    const negated = (data: Tensor["data"]) => (data as Float32Array).map((v) => -v); // parameters are F32
    const others = new Map(
      [...parameters].map(([name, { shape, data }]) => [name, float32(shape, negated(data))]),
    );
    const shares = (masked: boolean) =>
      [parameters, others, parameters].map((own, i) => ({
        parameters: own,
        batch: { ...batchOf(engine, masked, 3 + i), seed: `mask ${i}` },
      }));
    const together = await engine.stepTogether(shares(true));
    for (const [i, { batch, parameters: own }] of shares(false).entries())
      expectSame(together[i]!, await engine.step(batch, own));
    await engine.close();
  });
});

const mask = (bits: readonly number[]): TensorSet =>
  tensorSet([["attention_mask", int64([2, bits.length / 2], (i) => bits[i]!)]]);
const bits = (...lengths: number[]): number[] =>
  lengths.flatMap((length) => Array.from({ length: 160 }, (_, i) => (i < length ? 1 : 0)));

describe("tokens of a batch", () => {
  test("stand one behind the other, up to a number that few sessions serve", () => {
    const { tokens, places } = packingOf(mask(bits(160, 50)), [0, 170])!;
    expect(tokens).toHaveLength(240); // 210 in steps of 40
    expect(tokens.slice(158, 162)).toEqual([158, 159, 160, 161]);
    expect(tokens.slice(210)).toEqual(new Array(30).fill(0));
    expect(places[165]).toBe(165);
    expect(tokens[places[209]!]).toBe(209);
    expect(places[210]).toBe(0);
  });

  test("of several clients make equal blocks, each filled up with a token of its own", () => {
    const { tokens, places } = packingOf(mask(bits(100, 50)), [0, 170], 2)!;
    expect(tokens).toHaveLength(200); // the longest has 100, in steps of 20
    expect(tokens.slice(98, 102)).toEqual([98, 99, 160, 161]);
    expect(tokens.slice(150)).toEqual(new Array(50).fill(160));
    expect(places[170]).toBe(110);
    expect([places[150], places[300]]).toEqual([0, 100]);
    expect(packingOf(mask(bits(150, 50)), [], 2)).toBeUndefined();
  });

  test.each([
    ["little is spared", mask(bits(160, 130)), []],
    ["the batch is small", mask([1, 1, 1, 0, 0, 0, 1, 0]), []],
    ["the mask hides what is asked for", mask(bits(160, 10)), [200]],
    ["there is no mask", tensorSet([]), []],
    ["nothing is real", mask(bits(0, 0)), []],
  ])("are left where they are when %s", (_, inputs, wanted) => {
    expect(packingOf(inputs as TensorSet, wanted as number[])).toBeUndefined();
  });
});
