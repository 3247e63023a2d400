/** LoRA on the parts of a packed projection is LoRA on separate ones, whatever ranks and scales the parts have. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { float32, type TensorSet, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import type { LoraSpec, StepResult } from "../../../training/onnx/engine.ts";
import { openEngine } from "../../../training/onnx/open.ts";

const onnx = join(import.meta.dirname, "../../golden/models/smollm-tiny-fused/onnx");

/** As alpha patterns give them, and in another order than the columns stand in. */
const LORA: readonly LoraSpec[] = [
  { path: "model.layers.0.self_attn.v_proj", rank: 3, scale: 2 },
  { path: "model.layers.0.self_attn.q_proj", rank: 2, scale: 0.5 },
  { path: "model.layers.0.self_attn.k_proj", rank: 4, scale: 1.25 },
];
const int64 = (values: readonly number[]) =>
  tensor(
    "I64",
    [1, values.length],
    BigInt64Array.from(values, (v) => BigInt(v)),
  );
const batch = {
  inputs: tensorSet([
    ["input_ids", int64([5, 40, 7, 99, 12, 2])],
    ["attention_mask", int64([1, 1, 1, 1, 1, 1])],
  ]),
  labels: int64([-100, -100, 7, 99, 12, 2]),
};

async function step(file: string): Promise<StepResult> {
  const engine = await openEngine({
    file: openGraphFile(join(onnx, file)),
    lora: LORA,
    objective: "tokens",
    threads: 1,
  });
  const factors: TensorSet = tensorSet(
    engine.parameters.map(({ name, shape }) => {
      const rng = createRng(name);
      const data = Float32Array.from({ length: shape[0]! * shape[1]! }, () => rng.normal() * 0.2);
      return [name, float32(shape, data)];
    }),
  );
  try {
    return await engine.step(batch, factors);
  } finally {
    await engine.close();
  }
}

/** Float32, sums in another order. */
const LIMIT = 2e-5;

test("loss and gradients are equal", async () => {
  const [packed, split] = [await step("model.onnx"), await step("model_split_qkv.onnx")];
  expect(Math.abs(packed.lossSum - split.lossSum)).toBeLessThan(LIMIT * split.lossSum);
  expect([...packed.gradients.keys()]).toEqual([...split.gradients.keys()]);
  for (const [name, { data }] of split.gradients) {
    const [a, b] = [packed.gradients.get(name)!.data as Float32Array, data as Float32Array];
    const largest = Math.max(...b.map(Math.abs));
    expect(Math.max(...a.map((v, i) => Math.abs(v - b[i]!))), name).toBeLessThan(LIMIT * largest);
  }
});
