import { appendFile, copyFile, cp, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { baseHash } from "../../../training/models/base-hash.ts";
import { openModelDirectory } from "../../../training/models/model-directory.ts";
import { moduleName } from "../../../training/models/module-paths.ts";

const MODELS = join(import.meta.dirname, "../../golden/models");

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "fedloom-model-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function copyOf(name: string): Promise<string> {
  await cp(join(MODELS, name), folder, { recursive: true });
  return folder;
}

test("a model for images has three graphs", async () => {
  const path = join(MODELS, "smolvlm-tiny");
  const { graphs, task } = await openModelDirectory(path);
  expect(task).toBe("generation");
  expect(graphs).toEqual({
    vision: join(path, "onnx/vision_encoder.onnx"),
    embed: join(path, "onnx/embed_tokens.onnx"),
    decoder: join(path, "onnx/decoder_model_merged.onnx"),
  });
});

test("a text model has one, in the precision that is there", async () => {
  const path = join(MODELS, "smollm-tiny-q4");
  expect((await openModelDirectory(path)).graphs).toEqual({ decoder: join(path, "onnx/model_q4.onnx") });
});

test.each([
  ["bert-tiny-classifier", "text-classification"],
  ["vit-tiny-classifier", "image-classification"],
])("%s is for %s", async (name, task) => {
  expect((await openModelDirectory(join(MODELS, name))).task).toBe(task);
});

test("float32 comes first, another precision where it is asked for", async () => {
  const path = await copyOf("smollm-tiny");
  await copyFile(join(path, "onnx/model.onnx"), join(path, "onnx/model_fp16.onnx"));
  expect((await openModelDirectory(path)).graphs.decoder).toBe(join(path, "onnx/model.onnx"));
  expect((await openModelDirectory(path, "fp16")).graphs.decoder).toBe(join(path, "onnx/model_fp16.onnx"));
});

describe("what is missing is named", () => {
  test("a graph, with what was looked for and what is there", async () => {
    const path = await copyOf("smolvlm-tiny");
    await rm(join(path, "onnx/vision_encoder.onnx"));
    await expect(openModelDirectory(path, "fp32")).rejects.toMatchObject({
      code: "F2101",
      message: `Cannot use the model in "${path}": graph "onnx/vision_encoder.onnx" is missing; looked for vision_encoder.onnx, got decoder_model_merged.onnx, decoder_model_merged_fused.onnx, embed_tokens.onnx`,
    });
  });

  test("a precision", async () => {
    await expect(openModelDirectory(join(MODELS, "smollm-tiny"), "q4")).rejects.toMatchObject({
      code: "F2101",
      message: expect.stringContaining('graph "onnx/model_q4.onnx" is missing'),
    });
  });

  test("the folder of graphs", async () => {
    const path = await copyOf("smollm-tiny");
    await rm(join(path, "onnx"), { recursive: true });
    await expect(openModelDirectory(path)).rejects.toMatchObject({ code: "F2101" });
  });

  test("config.json", async () => {
    await expect(openModelDirectory(folder)).rejects.toMatchObject({
      code: "F2101",
      message: `Cannot use the model: "${join(folder, "config.json")}" is missing`,
    });
  });
});

test("a config.json that is none is refused", async () => {
  await writeFile(join(folder, "config.json"), "{");
  await expect(openModelDirectory(folder)).rejects.toMatchObject({ code: "F2134" });
});

describe("the base hash", () => {
  test("is the same for the same files, wherever they lie", async () => {
    const original = await baseHash(await openModelDirectory(join(MODELS, "llava-tiny")));
    expect(await baseHash(await openModelDirectory(await copyOf("llava-tiny")))).toBe(original);
  });

  test("changes with a graph and with the weights beside it", async () => {
    const hashes = new Set([await baseHash(await openModelDirectory(await copyOf("llava-tiny")))]);
    for (const file of ["embed_tokens.onnx", "decoder_model_merged.onnx_data"]) {
      // an empty producer_name: still a model
      await appendFile(join(folder, "onnx", file), Buffer.of(0x12, 0));
      hashes.add(await baseHash(await openModelDirectory(folder)));
    }
    expect(hashes.size).toBe(3);
  });

  test("does not change with the tokenizer, or with the time of a file", async () => {
    const before = await baseHash(await openModelDirectory(await copyOf("smollm-tiny")));
    await appendFile(join(folder, "tokenizer.json"), "\n");
    for (const file of await readdir(join(folder, "onnx"))) await utimes(join(folder, "onnx", file), 1, 1);
    expect(await baseHash(await openModelDirectory(folder))).toBe(before);
  });
});

test.each([
  [
    "idefics3",
    "decoder",
    "model.layers.0.self_attn.q_proj",
    "model.text_model.layers.0.self_attn.q_proj",
    "decoder",
  ],
  ["idefics3", "decoder", "lm_head", "lm_head", "decoder"],
  ["idefics3", "vision", "encoder.layers.0.mlp.fc1", "model.vision_model.encoder.layers.0.mlp.fc1", "vision"],
  [
    "idefics3",
    "vision",
    "connector.modality_projection.proj",
    "model.connector.modality_projection.proj",
    "connector",
  ],
  ["llava", "decoder", "model.layers.1.mlp.up_proj", "model.language_model.layers.1.mlp.up_proj", "decoder"],
  [
    "llava",
    "vision",
    "vision_tower.encoder.layers.0.mlp.fc1",
    "model.vision_tower.encoder.layers.0.mlp.fc1",
    "vision",
  ],
  ["llava", "vision", "multi_modal_projector.linear_2", "model.multi_modal_projector.linear_2", "connector"],
  ["llama", "whole", "model.layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj", "decoder"],
  ["llama", "whole", "model.layers.0.attn.q_proj", "model.layers.0.self_attn.q_proj", "decoder"],
  ["smolvlm", "embed", "embed_tokens", "model.text_model.embed_tokens", "decoder"],
] as const)("%s names %s module %s from the whole model's root", (model_type, graph, path, named, part) => {
  expect(moduleName({ model_type }, graph, path)).toEqual({ path: named, part });
});
