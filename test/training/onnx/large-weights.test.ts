/** The weight of a vocabulary: copied once where others are repacked for each way, and a left operand on the way back. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { float32, sizeOf, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { writeDecoder } from "../../../bench/train/decoder.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import { onnxRuntime } from "../../../training/onnx/edge/session.ts";
import type { EngineOptions, StepResult } from "../../../training/onnx/engine.ts";
import { openEngine } from "../../../training/onnx/open.ts";
import type { Runtime } from "../../../training/onnx/runtime.ts";

const folder = mkdtempSync(join(tmpdir(), "fedloom-large-"));
afterAll(() => rmSync(folder, { recursive: true }));

const HIDDEN = 192;
/** 36 MiB of the vocabulary's, 2 MiB of the layer's. */
const VOCABULARY = 49_152;
const model = writeDecoder(folder, {
  layers: 1,
  hidden: HIDDEN,
  heads: 3,
  keyHeads: 1,
  headSize: 64,
  ffn: 512,
  vocabulary: VOCABULARY,
});

/** Products of packed weights and of others are summed in another order; relative to a tensor's largest entry. */
const OTHER_SUMS = 1e-5;

/** One step, and what reads the vocabulary's weight or its copy: operator, which operand, shape. */
async function stepped(
  mode: NonNullable<EngineOptions["mode"]>,
): Promise<StepResult & { readonly readers: string[] }> {
  const readers: string[] = [];
  const runtime: Runtime = {
    ...onnxRuntime,
    open(program, options) {
      for (const { op, inputs } of program.operations) {
        const at = inputs.findIndex((input) => input && sizeOf(input.shape) === HIDDEN * VOCABULARY);
        if (at >= 0) readers.push(`${op} ${at} [${inputs[at]!.shape}]`);
      }
      return onnxRuntime.open(program, options);
    },
  };
  const lora = ["q", "v"].map((role) => ({
    path: `model.layers.0.self_attn.${role}_proj`,
    rank: 2,
    scale: 1,
  }));
  const engine = await openEngine({
    file: openGraphFile(model),
    lora,
    objective: "tokens",
    threads: 1,
    mode,
    runtime,
  });
  const rng = createRng("large");
  const normal = (size: number) => Float32Array.from({ length: size }, () => rng.normal());
  const length = 24;
  const inputs = tensorSet([
    ["inputs_embeds", float32([2, length, HIDDEN], normal(2 * length * HIDDEN))],
    ["attention_mask", tensor("I64", [2, length], new BigInt64Array(2 * length).fill(1n))],
  ]);
  const labels = BigInt64Array.from({ length: 2 * length }, (_, i) => BigInt(i % 3 === 0 ? 1000 * i : -100));
  const parameters = engine.parameters.map(
    ({ name, shape }) => [name, float32(shape, normal(shape[0]! * shape[1]!))] as const,
  );
  const result = await engine.step(
    { inputs, labels: tensor("I64", [2, length], labels) },
    tensorSet(parameters),
  );
  await engine.close();
  return { ...result, readers };
}

test("it is copied once in fast mode and read from the left on the way back in both, with equal gradients", async () => {
  const lean = await stepped("lean");
  const fast = await stepped("fast");
  expect(lean.readers).toEqual([`MatMul 1 [${HIDDEN},${VOCABULARY}]`, `Gemm 0 [${HIDDEN},${VOCABULARY}]`]);
  expect(fast.readers).toEqual([
    `Transpose 0 [${HIDDEN},1,${VOCABULARY}]`,
    `MatMul 1 [1,${HIDDEN},${VOCABULARY}]`,
    `FusedMatMul 0 [1,${HIDDEN},${VOCABULARY}]`,
  ]);
  expect(fast.lossSum / lean.lossSum).toBeCloseTo(1, 6);
  for (const [name, { data }] of lean.gradients) {
    const wanted = data as Float32Array; // gradients are F32
    const got = fast.gradients.get(name)!.data as Float32Array;
    const largest = wanted.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const difference = wanted.reduce((max, v, i) => Math.max(max, Math.abs(v - got[i]!)), 0);
    expect(largest, name).toBeGreaterThan(0);
    expect(difference / largest, name).toBeLessThan(OTHER_SUMS);
  }
});
