import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { expect, onTestFinished, test, vi } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { checkAdapter } from "../../adapters/check-adapter.ts";
import { readPeft, writePeft } from "../../adapters/peft.ts";
import { openSafetensors } from "../../adapters/safetensors.ts";
import { float32, type Tensor, tensor } from "../../adapters/tensor.ts";
import { trainingOptions } from "../../config/training.ts";
import type { Example } from "../../data/example.ts";
import { placesOf } from "../../training/merge/places.ts";
import { openGraphFile } from "../../training/onnx/edge/files.ts";
import type { GraphFile } from "../../training/onnx/engine.ts";
import { encodeModel } from "../../training/onnx/format/codec.ts";
import { openEngine } from "../../training/onnx/open.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import type { AdapterRequest } from "../../training/trainer.ts";

/** Sessions of a tiny model take a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

/** Its head is the embedding table turned, as in most small models. */
const MODEL = join(import.meta.dirname, "../golden/models/smollm-tiny");
const TABLE = "base_model.model.model.embed_tokens.weight";
const NORM = "base_model.model.model.norm.weight";
const INNER = "base_model.model.model.layers.1.input_layernorm.weight";

const REQUEST: AdapterRequest = {
  rank: 4,
  alpha: 8,
  rslora: false,
  dropout: 0,
  targets: ["q_proj"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

const rowOf = ({ data, shape }: Tensor, row: number): Float32Array =>
  (data as Float32Array).slice(row * shape[1]!, (row + 1) * shape[1]!);

test("embeddings and norms train whole: the slope along each gradient is its length, and a tied head stays as it was", async () => {
  const engine = await openEngine({
    file: openGraphFile(join(MODEL, "onnx/model.onnx")),
    lora: [],
    saved: ["model.embed_tokens", "model.norm", "model.layers.1.input_layernorm"],
    objective: "tokens",
    threads: 1,
  });
  const file = openSafetensors(join(MODEL, "reference/inputs.safetensors"));
  const inputs = new Map(file.names.map((name) => [name, file.read(name)]));
  file.close();
  const batch = { inputs, labels: inputs.get("labels")! };
  const start = engine.initialValues();
  const { gradients, lossSum } = await engine.step(batch, start);
  expect([...gradients.keys()]).toEqual([TABLE, INNER, NORM].sort());
  const lossAt = async (name: string, data: Float32Array): Promise<number> =>
    (await engine.step(batch, new Map([...start, [name, float32(start.get(name)!.shape, data)]]))).lossSum;
  for (const [name, { data }] of gradients) {
    const g = data as Float32Array;
    const length = Math.hypot(...g);
    const at = (t: number): Promise<number> =>
      lossAt(
        name,
        (start.get(name)!.data as Float32Array).map((v, i) => v + (t * g[i]!) / length),
      );
    // Float32 losses of about 200 leave 1e-5 of themselves in a difference of two over a step of 2e-2.
    const slope = ((await at(1e-2)) - (await at(-1e-2))) / 2e-2;
    expect(Math.abs(slope / length - 1), name).toBeLessThan(2e-2);
  }
  // A token that no example has: its row has no gradient, and the head, which shares the table, does not follow it.
  const used = new Set([...(inputs.get("input_ids")!.data as BigInt64Array)].map(Number));
  const unused = Array.from({ length: 320 }, (_, i) => i).find((id) => !used.has(id))!;
  const table = start.get(TABLE)!;
  expect(rowOf(gradients.get(TABLE)!, unused).every((v) => v === 0)).toBe(true);
  const moved = (table.data as Float32Array).map((v, i) => (Math.floor(i / 64) === unused ? v + 1 : v));
  expect(await lossAt(TABLE, moved)).toBe(lossSum);
  await engine.close();
});

const example = (id: string, asked: string): Example => ({
  id,
  turns: [
    { role: "user", content: asked },
    { role: "assistant", content: "abc" },
  ],
  images: [],
  audios: [],
});

test.each(["adamw", "sgd", "adafactor"] as const)(
  "by %s a trained table moves in the rows of tokens that were met, decay or not; the adapter is one in PEFT's form",
  async (optim) => {
    const trainer = await openOnnxTrainer({ model: MODEL, threads: 1 });
    onTestFinished(() => trainer.close());
    const request = { ...REQUEST, modulesToSave: ["embed_tokens", "norm"] };
    const adapter = await trainer.createAdapter(request, "1");
    const whole = (of: Adapter): string[] => [...of.tensors.keys()].filter((name) => !name.includes("lora_"));
    // As PEFT's endswith says, "norm" is every norm of a Llama.
    expect(whole(adapter)).toHaveLength(1 + 5);
    const options = trainingOptions.parse({
      optim,
      learning_rate: 1e-2,
      weight_decay: 0.5,
      max_steps: 2,
      per_device_train_batch_size: 1,
    });
    const task = { adapter, options, seed: "1" };
    const trained = (await trainer.train(task, [example("1", "aaa"), example("2", "bbb")], {})).adapter;
    const [before, after] = [adapter.tensors.get(TABLE)!, trained.tensors.get(TABLE)!];
    const changed = Array.from({ length: before.shape[0]! }, (_, row) => row).filter(
      (row) =>
        Buffer.compare(Buffer.from(rowOf(before, row).buffer), Buffer.from(rowOf(after, row).buffer)) !== 0,
    );
    expect(changed.length).toBeGreaterThan(3);
    expect(changed.length).toBeLessThan(100); // of 320, all of which decay would have moved
    for (const name of [NORM, INNER])
      expect(trained.tensors.get(name)).not.toEqual(adapter.tensors.get(name));

    const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    writePeft(directory, trained);
    const read = readPeft(directory);
    checkAdapter(read, "the test");
    expect(read.config.modulesToSave).toEqual(["embed_tokens", "norm"]);
    expect(whole(read)).toEqual(whole(adapter));
  },
);

test("norms of a vision encoder and a connector train whole, through the gradient of the decoder's input", async () => {
  const trainer = await openOnnxTrainer({
    model: join(import.meta.dirname, "../golden/models/smolvlm-tiny"),
    threads: 1,
  });
  onTestFinished(() => trainer.close());
  const names = [
    "base_model.model.model.connector.modality_projection.proj.weight",
    "base_model.model.model.vision_model.post_layernorm.bias",
    "base_model.model.model.vision_model.post_layernorm.weight",
  ];
  const request = { ...REQUEST, modulesToSave: ["post_layernorm", "modality_projection.proj"] };
  const adapter = await trainer.createAdapter(request, "1");
  expect([...adapter.tensors.keys()].filter((name) => !name.includes("lora_"))).toEqual(names);
  const create = { width: 40, height: 40, channels: 3, background: "#dc1e1e" } as const;
  const bytes = await sharp({ create }).png().toBuffer();
  const seen = { ...example("1", "<image>what?"), images: [{ name: "a.png", read: async () => bytes }] };
  const options = trainingOptions.parse({ learning_rate: 1e-2, max_steps: 1 });
  const { adapter: trained } = await trainer.train({ adapter, options, seed: "1" }, [seen], {});
  for (const name of names) expect(trained.tensors.get(name), name).not.toEqual(adapter.tensors.get(name));
  await expect(trainer.createAdapter({ ...request, modulesToSave: ["embed_toks"] }, "1")).rejects.toThrow(
    'Cannot train modules as a whole: "embed_toks" of modulesToSave are in none of the trained graphs',
  );
});

test("a convolution trains whole: the slope along its gradient is its length, in PyTorch's layout", async () => {
  const directory = join(import.meta.dirname, "../golden/models/vit-tiny-classifier");
  const engine = await openEngine({
    file: openGraphFile(join(directory, "onnx/model.onnx")),
    lora: [],
    saved: ["vit.embeddings.patch_embeddings.projection"],
    objective: "classes",
    threads: 1,
  });
  onTestFinished(() => engine.close());
  const file = openSafetensors(join(directory, "reference/inputs.safetensors"));
  const inputs = new Map(file.names.map((name) => [name, file.read(name)]));
  file.close();
  const batch = { inputs, labels: inputs.get("labels")! };
  const start = engine.initialValues();
  const root = "base_model.model.vit.embeddings.patch_embeddings.projection";
  const shape = start.get(`${root}.weight`)!.shape;
  expect(shape).toHaveLength(4);
  expect([...start.keys()]).toEqual([`${root}.bias`, `${root}.weight`]);
  const { gradients } = await engine.step(batch, start);
  for (const [name, { data, shape: own }] of gradients) {
    const g = data as Float32Array;
    const length = Math.hypot(...g);
    const lossAt = async (t: number): Promise<number> => {
      const moved = (start.get(name)!.data as Float32Array).map((v, i) => v + (t * g[i]!) / length);
      return (await engine.step(batch, new Map([...start, [name, float32(own, moved)]]))).lossSum;
    };
    // Float32 losses of a few units leave 1e-4 of them in a difference of two over a step of 2e-2.
    expect(Math.abs(((await lossAt(1e-2)) - (await lossAt(-1e-2))) / 2e-2 / length - 1), name).toBeLessThan(
      1e-2,
    );
  }
});

/** ids -> embeddings -> a norm with weight `scale` -> head; the norm scales with what the file has. */
function normGraph(scale: readonly number[]): GraphFile {
  const weight = (name: string, dims: number[], values: ArrayLike<number>) => ({
    name,
    dataType: 1,
    dims,
    rawData: new Uint8Array(Float32Array.from(values).buffer),
  });
  const node = (opType: string, name: string, input: string[], output: string) => ({
    opType,
    name,
    input,
    output: [output],
  });
  const numbers = Array.from({ length: 20 }, (_, i) => Math.sin(3 * i + 1));
  const ids = { elemType: 7, shape: { dim: [{ dimParam: "batch" }, { dimParam: "length" }] } };
  const bytes = encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 18 }],
    graph: {
      name: "norm",
      node: [
        node("Gather", "/model/embed_tokens/Gather", ["table", "input_ids"], "x"),
        node("SimplifiedLayerNormalization", "/model/norm/Norm", ["x", "onnx::Mul_7"], "n"),
        node("MatMul", "/lm_head/MatMul", ["n", "head"], "logits"),
      ],
      initializer: [
        weight("table", [5, 4], numbers),
        weight("onnx::Mul_7", [4], scale),
        weight("head", [4, 3], numbers.slice(0, 12)),
      ],
      input: [{ name: "input_ids", type: { tensorType: ids } }],
      output: [{ name: "logits", type: { tensorType: { elemType: 1 } } }],
    },
  });
  return { name: "norm.onnx", bytes, folder: "", fileName: "norm.onnx", read: () => new Uint8Array() };
}

test("a norm that scales with 1 + weight is kept as PEFT keeps it, without the 1 that the exporter added", async () => {
  const scale = [1.5, 0.5, 2, 1];
  const name = "base_model.model.model.norm.weight";
  const ids = tensor("I64", [1, 4], BigInt64Array.of(0n, 1n, 2n, 3n));
  const labels = tensor("I64", [1, 4], BigInt64Array.of(-100n, 1n, 2n, 0n));
  const batch = { inputs: new Map([["input_ids", ids]]), labels };
  const step = async (addedNorms: "without bias" | undefined) => {
    const file = normGraph(scale);
    const engine = await openEngine({
      file,
      lora: [],
      saved: ["model.norm"],
      addedNorms,
      objective: "tokens",
      threads: 1,
    });
    onTestFinished(() => engine.close());
    const start = engine.initialValues();
    return { start: start.get(name)!, ...(await engine.step(batch, start)) };
  };
  const [plain, added] = [await step(undefined), await step("without bias")];
  expect([...plain.start.data]).toEqual(scale);
  expect([...added.start.data]).toEqual(scale.map((v) => v - 1));
  expect(added.lossSum).toBe(plain.lossSum);
  expect(added.gradients).toEqual(plain.gradients);
  // A merge puts the 1 back.
  const [place] = placesOf(normGraph(scale), { addedNorms: "without bias" })(name);
  expect(place).toMatchObject({ weightName: "onnx::Mul_7", rows: 4, columns: 1, offset: 1 });
});
