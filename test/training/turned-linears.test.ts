/**
 * GPT-2's layers keep their weight as [in, out], and so do PEFT's copies of them (test/golden/peft-gpt2: a tiny GPT-2 by
 * PyTorch's older exporter, an adapter with the projections of its attention saved whole, by PEFT 0.21.2).
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readPeft } from "../../adapters/peft.ts";
import { readSafetensors } from "../../adapters/safetensors.ts";
import { type Tensor, tensor, tensorSet } from "../../adapters/tensor.ts";
import { hintsOf } from "../../training/graphs.ts";
import { loraSpecs, savedModules } from "../../training/lora-specs.ts";
import { mergeModel } from "../../training/merge/merge-model.ts";
import { turnedLinears } from "../../training/models/model-config.ts";
import { openModelDirectory } from "../../training/models/model-directory.ts";
import { openGraphFile } from "../../training/onnx/edge/files.ts";
import { openEngine } from "../../training/onnx/open.ts";

const golden = join(import.meta.dirname, "../golden/peft-gpt2");
const adapter = readPeft(join(golden, "adapter"));
const read = (name: string) => readSafetensors(readFileSync(join(golden, name)));
const reference = read("reference.safetensors");
const of = (name: string): Tensor => reference.get(name)!;
const inputs = tensorSet([
  ["input_ids", of("input_ids")],
  [
    "attention_mask",
    tensor("I64", of("input_ids").shape, new BigInt64Array(of("input_ids").data.length).fill(1n)),
  ],
]);
/** Sums of float32 in another order; a weight the wrong way round is off by more than its own size. */
const TOLERANCE = 1e-4;

const folder = mkdtempSync(join(tmpdir(), "fedloom-turned-"));
afterAll(() => rmSync(folder, { recursive: true }));

const largest = ({ data }: Tensor): number =>
  (data as Float32Array).reduce((max, v) => Math.max(max, Math.abs(v)), 0);
const farthest = (a: Tensor, b: Tensor): number =>
  (a.data as Float32Array).reduce((max, v, i) => Math.max(max, Math.abs(v - (b.data[i] as number))), 0);

async function opened(directory: string, whole: typeof adapter | undefined) {
  const model = await openModelDirectory(directory);
  const { mappingOf: _, ...hints } = hintsOf(model);
  return openEngine({
    ...{ file: openGraphFile(model.graphs.decoder), objective: "tokens", threads: 1, ...hints },
    lora: whole ? loraSpecs(whole) : [],
    saved: whole ? savedModules(whole) : [],
  });
}

test("loss, logits and every gradient are PEFT's, in its shapes", async () => {
  const engine = await opened(golden, adapter);
  const { gradients, lossSum, labels } = await engine.step({ inputs, labels: of("labels") }, adapter.tensors);
  expect(Math.abs(lossSum / labels - (of("loss").data[0] as number))).toBeLessThan(TOLERANCE);
  const wanted = read("grads.safetensors");
  expect([...gradients.keys()]).toEqual([...wanted.keys()]);
  for (const [name, slope] of wanted) {
    const mean = { ...slope, data: (gradients.get(name)!.data as Float32Array).map((v) => v / labels) };
    expect(gradients.get(name)!.shape, name).toEqual(slope.shape);
    expect(farthest(mean, slope) / largest(slope), name).toBeLessThan(TOLERANCE);
  }
  const logits = await engine.forward({ inputs }, adapter.tensors);
  expect(farthest(logits, of("logits_adapter"))).toBeLessThan(TOLERANCE);
  await engine.close();
});

test("begins at what the model has: a fresh copy changes nothing", async () => {
  const engine = await opened(golden, adapter);
  const start = engine.initialValues();
  expect(start.get("base_model.model.transformer.h.0.attn.c_attn.weight")!.shape).toEqual([16, 48]);
  const zeros = new Map(
    [...adapter.tensors].map(([name, t]) => [name, { ...t, data: t.data.slice().fill(0 as never) }]),
  );
  const logits = await engine.forward({ inputs }, new Map([...zeros, ...start]));
  expect(farthest(logits, of("logits_base"))).toBeLessThan(TOLERANCE);
  await engine.close();
});

test("a merged model computes what PEFT does", async () => {
  const merged = join(folder, "merged");
  await mergeModel(golden, adapter, merged);
  const engine = await opened(merged, undefined);
  expect(farthest(of("logits_base"), of("logits_adapter"))).toBeGreaterThan(100 * TOLERANCE);
  expect(farthest(await engine.forward({ inputs }, new Map()), of("logits_adapter"))).toBeLessThan(TOLERANCE);
  await engine.close();
});

test.each([
  ["gpt2", "transformer.h.0.mlp.c_proj", true],
  ["gpt2", "transformer.h.0.attn.c_attn", true],
  ["gpt2", "lm_head", false],
  ["gpt_bigcode", "transformer.h.0.attn.c_attn", false],
  ["qwen", "transformer.h.0.attn.c_attn", false],
])("a %s keeps %s turned: %s", (model_type, path, expected) => {
  expect(turnedLinears({ model_type, text_config: null })?.test(path) ?? false).toBe(expected);
});
