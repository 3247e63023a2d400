/**
 * A model that hears: the decoder of llava-tiny, whose image token is taken as its audio token, behind an encoder
 * of one linear layer that gives each hop of a spectrogram one vector.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { float32 } from "../../adapters/tensor.ts";
import { createRng } from "../../base/rng.ts";
import { trainingOptions } from "../../config/training.ts";
import { examplesOf } from "../../data/dataset.ts";
import type { Example } from "../../data/example.ts";
import { openDataset } from "../../data/open-dataset.ts";
import { GraphWriter } from "../../scenarios/nano/graph-writer.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import type { AdapterRequest, Trainer } from "../../training/trainer.ts";
import { wav16 } from "./wav-file.ts";

/** Opening a model and its first sessions takes a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const BASE = join(import.meta.dirname, "../golden/models/llava-tiny");
const HIDDEN = 48;
const BINS = 8;
const REQUEST: AdapterRequest = {
  rank: 4,
  alpha: 8,
  rslora: false,
  dropout: 0,
  targets: "all-linear",
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

function audioEncoder(): Uint8Array {
  const rng = createRng("encoder");
  const weight = Float32Array.from({ length: BINS * HIDDEN }, () => rng.uniform() - 0.5);
  const graph = new GraphWriter();
  const features = graph.input("input_features", "F32", ["sounds", BINS, "hops"]);
  const turned = graph.node("Transpose", [features], { perm: [0, 2, 1] }, "/audio_tower");
  const matrix = graph.weight("audio_tower.fc1.weight", float32([BINS, HIDDEN], weight));
  const vectors = graph.node("MatMul", [turned, matrix], {}, "/audio_tower/fc1");
  graph.output("audio_features", vectors, "F32", ["sounds", "hops", HIDDEN]);
  return graph.finish("audio_encoder");
}

let folder: string;
let trainer: Trainer;
let examples: readonly Example[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "fedloom-sounds-"));
  const model = join(folder, "model");
  mkdirSync(join(model, "onnx"), { recursive: true });
  for (const file of ["decoder_model_merged.onnx", "decoder_model_merged.onnx_data", "embed_tokens.onnx"])
    cpSync(join(BASE, "onnx", file), join(model, "onnx", file));
  for (const file of ["tokenizer_config.json", "chat_template.jinja"])
    cpSync(join(BASE, file), join(model, file));
  const tokenizer = readFileSync(join(BASE, "tokenizer.json"), "utf8");
  writeFileSync(join(model, "tokenizer.json"), tokenizer.replaceAll("<image>", "<audio>"));
  const { text_config, architectures } = JSON.parse(readFileSync(join(BASE, "config.json"), "utf8"));
  writeFileSync(
    join(model, "config.json"),
    JSON.stringify({ model_type: "ultravox", architectures, text_config, audio_token_index: 3 }),
  );
  writeFileSync(
    join(model, "preprocessor_config.json"),
    JSON.stringify({
      feature_extractor_type: "WhisperFeatureExtractor",
      feature_size: BINS,
      sampling_rate: 8000,
      hop_length: 400,
      n_fft: 512,
      chunk_length: 0.25,
    }),
  );
  writeFileSync(join(model, "onnx/audio_encoder.onnx"), audioEncoder());

  const data = join(folder, "data");
  mkdirSync(data);
  const rows = [];
  for (const [word, hz] of [
    ["red", 400],
    ["blue", 2500],
  ] as const) {
    // Twice the model's rate, so that it has to be brought to it.
    const tone = Array.from({ length: 3200 }, (_, i) => 0.5 * Math.sin((2 * Math.PI * hz * i) / 16_000));
    writeFileSync(join(data, `${word}.wav`), wav16(tone, 16_000));
    const messages = [
      { role: "user", content: "<audio>what ?" },
      { role: "assistant", content: word },
    ];
    rows.push({ messages, audios: [`${word}.wav`], options: ["red", "blue"] });
  }
  writeFileSync(join(data, "train.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  examples = examplesOf(await openDataset(data), "train");
  trainer = await openOnnxTrainer({ model, threads: 1 });
});
afterAll(async () => {
  await trainer.close();
  rmSync(folder, { recursive: true });
});

const options = trainingOptions.parse({ learning_rate: 1e-2, per_device_train_batch_size: 2, max_steps: 40 });

test("sounds of a dataset train the decoder until it names them", async () => {
  const adapter = await trainer.createAdapter(REQUEST, "1");
  const result = await trainer.train({ adapter, options, seed: "1" }, examples, {});
  expect(result.touched).toEqual({ text: 2, image: 0, audio: 2 });
  // Two answers that only the sound tells apart: ln 2 a first token is what silence would leave.
  expect(result.metrics.lossLast).toBeLessThan(0.1);
  const predictions = await trainer.predict(
    { adapter: result.adapter, maxNewTokens: 4, batchSize: 2 },
    examples,
    {},
  );
  expect(predictions.map(({ text }) => text)).toEqual(["red", "blue"]);
});

test("the audio encoder alone trains through the decoder", async () => {
  const adapter = await trainer.createAdapter({ ...REQUEST, train: "audio" }, "1");
  const prefix = "base_model.model.model.audio_tower.fc1";
  expect([...adapter.tensors.keys()]).toEqual([`${prefix}.lora_A.weight`, `${prefix}.lora_B.weight`]);
  const { metrics } = await trainer.train({ adapter, options, seed: "1" }, examples, {});
  expect(metrics.lossLast).toBeLessThan(0.8 * metrics.lossFirst!);
});

test("a model without an audio encoder refuses sounds", async () => {
  const deaf = await openOnnxTrainer({ model: BASE, threads: 1 });
  const adapter = await deaf.createAdapter(REQUEST, "1");
  await expect(deaf.train({ adapter, options, seed: "1" }, examples, {})).rejects.toThrow(
    "it has 1 sounds and the model takes none",
  );
  await deaf.close();
});
