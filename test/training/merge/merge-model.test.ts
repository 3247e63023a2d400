/** Merged models on the plain runtime, against logits that PyTorch and PEFT gave for the adapter kept apart. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Adapter } from "../../../adapters/adapter.ts";
import { readPeft } from "../../../adapters/peft.ts";
import { readSafetensors } from "../../../adapters/safetensors.ts";
import { float32, type TensorSet, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { initializerRanges } from "../../../training/merge/locate.ts";
import { type MergeReport, mergeModel } from "../../../training/merge/merge-model.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import { openSession } from "../../../training/onnx/edge/session.ts";
import { decodeModel, encodeModel } from "../../../training/onnx/format/codec.ts";
import { completeInputs } from "../../../training/onnx/inputs.ts";
import { loadGraph } from "../../../training/onnx/load.ts";

const golden = join(import.meta.dirname, "../../golden/models");
const folder = mkdtempSync(join(tmpdir(), "fedloom-merge-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The README of the reference data: seen between runtime and PyTorch 1e-6 to 1e-5, merging every adapter below 2e-5. */
const LOGIT_TOLERANCE = 1e-4;

const reference = (model: string, file: string) =>
  readSafetensors(readFileSync(join(golden, model, "reference", file)));

/** Both decoders have 16 numbers a head. */
const HEAD_WIDTH = 16;

async function run(graph: string, given: TensorSet, output: string) {
  const file = openGraphFile(graph);
  const { graph: loaded } = loadGraph(file);
  const batch = given.get("attention_mask")!.shape[0]!;
  // Fused graphs do not state the width of a head.
  const caches = loaded.inputs
    .filter(({ name }) => name.startsWith("past"))
    .map(({ name, shape }) => [name, float32([batch, shape[1] as number, 0, HEAD_WIDTH], [])] as const);
  const uncached = ["use_cache_branch", tensor("BOOL", [1], Uint8Array.of(0))] as const;
  const inputs = completeInputs(loaded, { inputs: tensorSet([...given, ...caches, uncached]) }, () => false);
  const session = await openSession(file.bytes, { folder: file.folder, device: "cpu", packWeights: false });
  try {
    return (await session.run(inputs, [output])).get(output)!;
  } finally {
    await session.close();
  }
}

/** A model directory with this one graph under the usual name. */
function directoryOf(model: string, graph: string): string {
  const directory = mkdtempSync(join(folder, "model-"));
  mkdirSync(join(directory, "onnx"));
  copyFileSync(join(golden, model, "config.json"), join(directory, "config.json"));
  copyFileSync(join(golden, model, "onnx", `${graph}.onnx`), join(directory, "onnx", "model.onnx"));
  return directory;
}

/** Largest difference to PEFT's logits at the positions that predict a label; those of padding mean nothing. */
function differenceToPeft(
  logits: { shape: readonly number[]; data: ArrayLike<unknown> },
  forward: TensorSet,
): number {
  const positions = [...(forward.get("label_positions")!.data as BigInt64Array)].map(Number);
  const wanted = forward.get("label_logits")!;
  const [, length, vocabulary] = logits.shape as [number, number, number];
  let largest = 0;
  for (let row = 0; row < wanted.shape[0]!; row++) {
    const at = (positions[2 * row]! * length + positions[2 * row + 1]!) * vocabulary;
    for (let v = 0; v < vocabulary; v++) {
      const difference = (logits.data[at + v] as number) - (wanted.data[row * vocabulary + v] as number);
      largest = Math.max(largest, Math.abs(difference));
    }
  }
  return largest;
}

describe.each([
  ["smollm-tiny", "model"],
  ["smollm-tiny-alt", "model_optimized"],
  ["smollm-tiny-alt", "model_if_merged"],
  ["smollm-tiny-fused", "model"],
  ["smollm-tiny-fused", "model_split_qkv"],
])("%s/%s", (model, graph) => {
  test.each(["r4_a8_qkvo", "r8_a16_all"])("with %s inside gives PEFT's logits", async (name) => {
    const target = mkdtempSync(join(folder, "merged-"));
    rmSync(target, { recursive: true });
    await mergeModel(
      directoryOf(model, graph),
      readPeft(join(golden, "smollm-tiny/reference", name, "adapter")),
      target,
    );
    const inputs = reference("smollm-tiny", "inputs.safetensors");
    const logits = await run(join(target, "onnx/model.onnx"), inputs, "logits");
    expect(differenceToPeft(logits, reference("smollm-tiny", `${name}/forward.safetensors`))).toBeLessThan(
      LOGIT_TOLERANCE,
    );
  });
});

describe("a model in three graphs with its weights beside them", () => {
  const source = join(golden, "llava-tiny");
  const adapter = readPeft(join(source, "reference/r8_a16_all/adapter"));
  const target = join(folder, "llava");
  let report: MergeReport;
  beforeAll(async () => {
    report = await mergeModel(source, adapter, target);
  });

  test("gives PEFT's logits", async () => {
    expect(report.graphs).toEqual({
      "onnx/vision_encoder.onnx": 0,
      "onnx/embed_tokens.onnx": 0,
      "onnx/decoder_model_merged.onnx": 14,
    });
    const inputs = new Map([
      ...reference("llava-tiny", "inputs.safetensors"),
      ["inputs_embeds", reference("llava-tiny", "base_forward.safetensors").get("inputs_embeds")!],
    ]);
    const logits = await run(join(target, "onnx/decoder_model_merged.onnx"), tensorSet(inputs), "logits");
    const forward = reference("llava-tiny", "r8_a16_all/forward.safetensors");
    expect(differenceToPeft(logits, forward)).toBeLessThan(LOGIT_TOLERANCE);
  });

  test("differs from the original in the bytes of the changed weights only", () => {
    const file = openGraphFile(join(source, "onnx/decoder_model_merged.onnx"));
    const same = (path: string) => readFileSync(join(source, path)).equals(readFileSync(join(target, path)));
    for (const name of readdirSync(target).filter((entry) => entry !== "onnx")) expect(same(name)).toBe(true);
    expect(readdirSync(join(target, "onnx")).sort()).toEqual([
      "decoder_model_merged.onnx",
      "decoder_model_merged.onnx_data",
      "embed_tokens.onnx",
      "vision_encoder.onnx",
    ]);
    for (const name of ["decoder_model_merged.onnx", "embed_tokens.onnx", "vision_encoder.onnx"]) {
      expect(same(join("onnx", name))).toBe(true);
    }
    const [before, after] = [source, target].map((path) =>
      readFileSync(join(path, "onnx/decoder_model_merged.onnx_data")),
    );
    const changed = [...initializerRanges(file).values()].filter(({ location, offset, length }) => {
      if (location === file.fileName) return false;
      return !before!.subarray(offset, offset + length).equals(after!.subarray(offset, offset + length));
    });
    expect(changed.length).toBe(14);
  });
});

test("layers that the exporter dropped are left out where that is wanted, and told", async () => {
  const source = join(golden, "llava-tiny");
  const adapter = readPeft(join(source, "reference/r4_a8_whole_model/adapter"));
  await expect(mergeModel(source, adapter, join(folder, "whole"))).rejects.toThrow(
    "vision_tower.encoder.layers.2",
  );
  const { skipped, graphs } = await mergeModel(source, adapter, join(folder, "whole"), { skipMissing: true });
  expect(skipped.length).toBe(12);
  expect(skipped.every((name) => name.includes("vision_tower.encoder.layers.2."))).toBe(true);
  expect(graphs["onnx/vision_encoder.onnx"]).toBeGreaterThan(0);
  // The features of the merged encoder at the decoder's input, and the merged decoder's logits on them.
  const inputs = reference("llava-tiny", "inputs.safetensors");
  const before = reference("llava-tiny", "base_forward.safetensors").get("image_features")!;
  const after = await run(join(folder, "whole/onnx/vision_encoder.onnx"), inputs, "image_features");
  expect(after.shape).toEqual(before.shape);
  const moved = (after.data as Float32Array).map((value, i) => Math.abs(value - (before.data[i] as number)));
  expect(Math.max(...moved)).toBeGreaterThan(100 * LOGIT_TOLERANCE);
});

describe("refuses", () => {
  const adapter = readPeft(join(golden, "smollm-tiny/reference/r4_a8_qkvo/adapter"));
  const source = join(golden, "smollm-tiny");
  const refusal = async (model: string, of: Adapter, message: string, target = join(folder, "refused")) => {
    await expect(mergeModel(model, of, target)).rejects.toMatchObject({
      code: "F3013",
      message: expect.stringContaining(message),
    });
  };

  test("quantized weights, and leaves nothing behind", async () => {
    await refusal(join(golden, "smollm-tiny-q4"), adapter, "has quantized weights");
    expect(readdirSync(folder).some((entry) => entry.includes("refused"))).toBe(false);
  });

  test("a module that the model does not have", async () => {
    const name = "base_model.model.model.layers.9.self_attn.q_proj";
    const tensors = tensorSet([
      ...adapter.tensors,
      [`${name}.lora_A.weight`, float32([4, 64], new Float32Array(256))],
      [`${name}.lora_B.weight`, float32([64, 4], new Float32Array(256))],
    ]);
    await refusal(
      source,
      { ...adapter, tensors },
      `no graph has a place for tensor "${name}.lora_A.weight" and 1 more`,
    );
  });

  test("factors of another width", async () => {
    const name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    const tensors = new Map([...adapter.tensors, [name, float32([4, 32], new Float32Array(128))]]);
    await refusal(source, { ...adapter, tensors }, "wants 64 x 32 numbers");
  });

  test("a head that shares its weight with the embeddings", async () => {
    const tensors = tensorSet([
      ["base_model.model.model.embed_tokens.lora_embedding_A", float32([1, 320], new Float32Array(320))],
      ["base_model.model.model.embed_tokens.lora_embedding_B", float32([64, 1], new Float32Array(64))],
    ]);
    const config = { ...adapter.config, rank: 1, targets: ["embed_tokens"] };
    await refusal(source, { config, tensors }, "must be read by one node, got Gather");
  });

  test("weights outside the model's folder, before anything is written", async () => {
    const directory = directoryOf("smollm-tiny", "model");
    const path = join(directory, "onnx/model.onnx");
    const model = decodeModel(readFileSync(path));
    const [first] = model.graph!.initializer!;
    delete first!.rawData;
    first!.dataLocation = 1;
    first!.externalData = [{ key: "location", value: "../../elsewhere" }];
    writeFileSync(path, encodeModel(model));
    await refusal(directory, adapter, 'weights at "../../elsewhere" must lie beside the graph');
  });

  test("a target that exists", async () => {
    await refusal(source, adapter, "exists; name a new directory", folder);
    expect(existsSync(join(folder, "onnx"))).toBe(false);
  });
});
