/** fedloom.targets.json decides what training and merging call a layer, not only `model inspect`. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { mergeModel } from "../../training/merge/merge-model.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import type { AdapterRequest } from "../../training/trainer.ts";

/** Sessions of a tiny model take a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000 });

const REQUEST: AdapterRequest = {
  rank: 2,
  alpha: 4,
  rslora: false,
  dropout: 0,
  targets: ["mixer"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

test("a layer that the file names is trained and merged under that name", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const model = join(folder, "model");
  cpSync(join(import.meta.dirname, "../golden/models/smollm-tiny"), model, { recursive: true });
  const named = { "model.layers.1.block.mixer": { node: "/model/layers.1/self_attn/v_proj/MatMul" } };
  writeFileSync(join(model, "fedloom.targets.json"), JSON.stringify({ "onnx/model.onnx": named }));
  const trainer = await openOnnxTrainer({ model, threads: 1 });
  onTestFinished(() => trainer.close());
  const adapter = await trainer.createAdapter(REQUEST, "1");
  expect([...adapter.tensors].map(([name, { shape }]) => `${name} ${shape}`)).toEqual([
    "base_model.model.model.layers.1.block.mixer.lora_A.weight 2,64",
    "base_model.model.model.layers.1.block.mixer.lora_B.weight 32,2",
  ]);
  const { graphs } = await mergeModel(model, adapter, join(folder, "merged"));
  expect(graphs).toEqual({ "onnx/model.onnx": 1 });
});
