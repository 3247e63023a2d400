/** Embeddings trained whole: only the rows that a batch meets go into a session, whether they are in the decoder or apart. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { expect, onTestFinished, test, vi } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { readPeft } from "../../adapters/peft.ts";
import { readSafetensors } from "../../adapters/safetensors.ts";
import { float32, type Tensor, type TensorSet } from "../../adapters/tensor.ts";
import { trainingOptions } from "../../config/training.ts";
import type { Example } from "../../data/example.ts";
import { loraSpecs } from "../../training/lora-specs.ts";
import { mergeModel } from "../../training/merge/merge-model.ts";
import { openComposite } from "../../training/onnx/composite.ts";
import { openGraphFile } from "../../training/onnx/edge/files.ts";
import { onnxRuntime } from "../../training/onnx/edge/session.ts";
import { openEngine } from "../../training/onnx/open.ts";
import type { Program } from "../../training/onnx/program.ts";
import type { Runtime } from "../../training/onnx/runtime.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import type { AdapterRequest, Trainer } from "../../training/trainer.ts";

/** Sessions of a tiny model take a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const golden = join(import.meta.dirname, "../golden/models");
const tensorsIn = (path: string): TensorSet => readSafetensors(readFileSync(join(golden, path)));

test("a session is fed the rows of the tokens in the batch, and gives a gradient of as many", async () => {
  const programs: Program[] = [];
  const runtime: Runtime = {
    ...onnxRuntime,
    open: (program, options) => {
      programs.push(program);
      return onnxRuntime.open(program, options);
    },
  };
  const engine = await openEngine({
    file: openGraphFile(join(golden, "smollm-tiny/onnx/model.onnx")),
    lora: [],
    saved: ["model.embed_tokens"],
    objective: "tokens",
    threads: 1,
    runtime,
  });
  onTestFinished(() => engine.close());
  const { labels, ...rest } = Object.fromEntries(tensorsIn("smollm-tiny/reference/inputs.safetensors"));
  const batch = { inputs: new Map(Object.entries(rest)), labels: labels! };
  const { gradients } = await engine.step(batch, engine.initialValues());
  const name = "base_model.model.model.embed_tokens.weight";
  const vocabulary = 320;
  expect(gradients.get(name)!.shape).toEqual([vocabulary, 64]);
  const [program] = programs;
  const values = [...program!.inputs, ...program!.operations.flatMap(({ outputs }) => outputs)];
  expect(values.some(({ shape }) => `${shape}` === `${[vocabulary, 64]}`)).toBe(false);
  expect(program!.inputs.find((input) => input.name === name)!.shape).toEqual([64, 64]);
});

test("a table that a fused graph has as its turned head trains as the plain graph's does", async () => {
  const step = async (graph: string) => {
    const engine = await openEngine({
      file: openGraphFile(join(golden, graph)),
      lora: [],
      saved: ["model.embed_tokens", "model.norm"],
      objective: "tokens",
      threads: 1,
    });
    onTestFinished(() => engine.close());
    const { labels, ...rest } = Object.fromEntries(tensorsIn("smollm-tiny/reference/inputs.safetensors"));
    const start = engine.initialValues();
    return {
      start,
      ...(await engine.step({ inputs: new Map(Object.entries(rest)), labels: labels! }, start)),
    };
  };
  const [plain, fused] = [
    await step("smollm-tiny/onnx/model.onnx"),
    await step("smollm-tiny-fused/onnx/model.onnx"),
  ];
  expect(fused.start).toEqual(plain.start);
  for (const [name, { data }] of plain.gradients) {
    const largest = (data as Float32Array).reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const other = fused.gradients.get(name)!.data as Float32Array;
    const error = (data as Float32Array).reduce((max, v, i) => Math.max(max, Math.abs(v - other[i]!)), 0);
    expect(error, name).toBeLessThan(1e-4 * largest);
  }
});

/** Step of the difference along a unit direction; float32 losses of some tens leave 1e-3 of it. */
const STEP = 1e-2;

test("a table in a graph of its own gets the gradient of the tokens that stand, not of those that pictures took", async () => {
  const directory = join(golden, "smolvlm-tiny");
  const adapter = readPeft(join(directory, "reference/r4_a8_qkvo/adapter"));
  const path = "model.text_model.embed_tokens";
  const name = `base_model.model.${path}.weight`;
  const mediaTokenId = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8")).media_token_id;
  const model = await openComposite({
    decoder: openGraphFile(join(directory, "onnx/decoder_model_merged.onnx")),
    embed: openGraphFile(join(directory, "onnx/embed_tokens.onnx")),
    encoders: [{ file: openGraphFile(join(directory, "onnx/vision_encoder.onnx")), tokenId: mediaTokenId }],
    lora: loraSpecs(adapter),
    saved: [path],
    objective: "tokens",
    threads: 1,
  });
  onTestFinished(() => model.close());
  expect(model.absent).toEqual([]);
  const { labels, ...rest } = Object.fromEntries(tensorsIn("smolvlm-tiny/reference/inputs.safetensors"));
  const batch = { inputs: new Map(Object.entries(rest)), labels: labels! };
  const start = new Map([...adapter.tensors, ...model.initialValues()]);
  const gradient = (await model.step(batch, start)).gradients.get(name)!;
  const g = gradient.data as Float32Array;
  const lossAt = async (data: Float32Array): Promise<number> =>
    (await model.step(batch, new Map([...start, [name, float32(gradient.shape, data)]]))).lossSum;
  const table = start.get(name)!.data as Float32Array;
  const length = Math.hypot(...g);
  const at = (t: number): Promise<number> => lossAt(table.map((v, i) => v + (t * g[i]!) / length));
  const slope = ((await at(STEP)) - (await at(-STEP))) / (2 * STEP);
  expect(Math.abs(slope / length - 1)).toBeLessThan(1e-2);
  const width = gradient.shape[1]!;
  const row = (id: number): Float32Array => g.subarray(id * width, (id + 1) * width);
  expect(row(mediaTokenId).every((v) => v === 0)).toBe(true);
  const met = new Set([...(batch.inputs.get("input_ids")!.data as BigInt64Array)].map(Number));
  const moved = Array.from({ length: gradient.shape[0]! }, (_, id) => id).filter((id) =>
    row(id).some((v) => v !== 0),
  );
  expect(moved.length).toBeGreaterThan(5);
  expect(moved.every((id) => met.has(id) && id !== mediaTokenId)).toBe(true);
});

const REQUEST: AdapterRequest = {
  rank: 2,
  alpha: 4,
  rslora: false,
  dropout: 0,
  targets: ["q_proj"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: ["embed_tokens", "norm"],
};

const rowsThatDiffer = (a: Tensor, b: Tensor): number[] => {
  const width = a.shape[1]!;
  return Array.from({ length: a.shape[0]! }, (_, row) => row).filter((row) =>
    (a.data as Float32Array)
      .subarray(row * width, (row + 1) * width)
      .some((v, i) => v !== (b.data[row * width + i] as number)),
  );
};

test("a model in three graphs trains its embeddings and norms under PEFT's names, and takes them in by a merge", async () => {
  const source = join(golden, "llava-tiny");
  const trainer = await openOnnxTrainer({ model: source, threads: 1 });
  onTestFinished(() => trainer.close());
  const adapter = await trainer.createAdapter(REQUEST, "1");
  const table = "base_model.model.model.language_model.embed_tokens.weight";
  expect([...adapter.tensors.keys()]).toContain(table);
  const create = { width: 40, height: 40, channels: 3, background: "#dc1e1e" } as const;
  const bytes = await sharp({ create }).png().toBuffer();
  const seen: Example = {
    id: "1",
    turns: [
      { role: "user", content: "<image>what?" },
      { role: "assistant", content: "red" },
    ],
    images: [{ name: "a.png", read: async () => bytes }],
    audios: [],
  };
  const options = trainingOptions.parse({ learning_rate: 1e-2, max_steps: 3, weight_decay: 0.1 });
  const { adapter: trained, metrics } = await trainer.train({ adapter, options, seed: "1" }, [seen], {});
  expect(metrics.loss).toBeGreaterThan(0);
  const changed = rowsThatDiffer(adapter.tensors.get(table)!, trained.tensors.get(table)!);
  expect(changed.length).toBeGreaterThan(3);
  expect(changed.length).toBeLessThan(100);

  const folder = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const report = await mergeModel(source, trained, join(folder, "merged"));
  expect(report.graphs).toMatchObject({ "onnx/embed_tokens.onnx": 1 });
  const merged = await openOnnxTrainer({ model: join(folder, "merged"), threads: 1 });
  onTestFinished(() => merged.close());
  const lossOf = async (of: Trainer, own: Adapter | undefined): Promise<number> => {
    const task = { adapter: own, maxNewTokens: 1, batchSize: 1, loss: true };
    return (await of.predict(task, [{ ...seen, options: ["red", "blue"] }], {}))[0]!.loss!;
  };
  const apart = await lossOf(trainer, trained);
  expect(apart).toBeLessThan(await lossOf(trainer, adapter));
  // Products in another order: 1e-5 of a logit (the reference's README).
  expect(Math.abs((await lossOf(merged, undefined)) - apart)).toBeLessThan(1e-4);
});
