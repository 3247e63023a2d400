/** Classifiers through the trainer itself, against PyTorch and PEFT: ten steps, predictions, refusals. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readPeft } from "../../adapters/peft.ts";
import { readSafetensors } from "../../adapters/safetensors.ts";
import { trainingOptions } from "../../config/training.ts";
import type { Example } from "../../data/example.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import type { Trainer } from "../../training/trainer.ts";

const MODELS = join(import.meta.dirname, "../golden/models");
/** Opening a model and its first sessions takes a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
/** The tolerance of the reference for losses and final weights: ten times what runtimes were seen to differ by. */
const TOLERANCE = 1e-4;

/** The three examples that the reference was computed on. */
function referenceExamples(model: string): Example[] {
  const path = join(MODELS, model, "reference/inputs.safetensors");
  const labels = [...readSafetensors(readFileSync(path), path).get("labels")!.data].map(String);
  const bare = { turns: [{ role: "user", content: "" }], images: [], audios: [] } as const;
  if (model.startsWith("vit")) {
    return labels.map((label, i) => {
      const name = join(MODELS, model, `reference/images/${i}.png`);
      return {
        ...bare,
        id: `${i}`,
        label: `LABEL_${label}`,
        images: [{ name, read: async () => readFileSync(name) }],
      };
    });
  }
  const { texts }: { texts: string[] } = JSON.parse(
    readFileSync(join(MODELS, model, "reference/text.json"), "utf8"),
  );
  // A label may be a name or an index.
  return texts.map((content, i) => ({
    ...bare,
    id: `${i}`,
    label: labels[i]!,
    turns: [{ role: "user", content }],
  }));
}

describe.each([
  { model: "bert-tiny-classifier", adapter: "r8_a16_all" },
  { model: "bert-tiny-classifier", adapter: "r4_a8_qv_head" },
  { model: "vit-tiny-classifier", adapter: "r8_a16_all" },
])("$model $adapter", ({ model, adapter: adapterName }) => {
  const folder = join(MODELS, model, "reference", adapterName);
  let trainer: Trainer;
  beforeAll(async () => {
    trainer = await openOnnxTrainer({ model: join(MODELS, model), threads: 1 });
  });
  afterAll(() => trainer.close());

  test.each([1, 3])(
    "ten AdamW steps in micro-batches of %i follow PyTorch's losses and weights",
    async (size) => {
      const result: { losses: number[] } = JSON.parse(readFileSync(join(folder, "result.json"), "utf8"));
      const losses: number[] = [];
      const { adapter: trained } = await trainer.train(
        {
          adapter: await readPeft(join(folder, "adapter")),
          seed: "1",
          options: trainingOptions.parse({
            learning_rate: 1e-3,
            weight_decay: 0.01,
            max_grad_norm: 0,
            max_steps: 10,
            per_device_train_batch_size: size,
            gradient_accumulation_steps: 3 / size,
          }),
        },
        referenceExamples(model),
        { onProgress: ({ step, loss }) => step > 0 && losses.push(loss) },
      );
      expect(losses.length).toBe(10);
      losses.forEach((loss, i) => {
        expect(Math.abs(loss - result.losses[i]!), `step ${i}`).toBeLessThan(TOLERANCE);
      });
      const final = await readPeft(join(folder, "final"));
      expect([...trained.tensors.keys()]).toEqual([...final.tensors.keys()]);
      for (const [name, { data }] of final.tensors) {
        const ours = trained.tensors.get(name)!.data as Float32Array;
        const largest = (data as Float32Array).reduce(
          (max, w, i) => Math.max(max, Math.abs(w - ours[i]!)),
          0,
        );
        expect(largest, name).toBeLessThan(TOLERANCE);
      }
    },
  );

  test("predictions are the likeliest class, with the log-probability of each", async () => {
    const adapter = await readPeft(join(folder, "adapter"));
    const path = join(folder, "forward.safetensors");
    const logits = readSafetensors(readFileSync(path), path).get("logits")!;
    const classes = logits.shape[1]!;
    const predictions = await trainer.predict(
      { adapter, maxNewTokens: 1, batchSize: 2, loss: true },
      referenceExamples(model),
      {},
    );
    predictions.forEach(({ text, optionScores, loss }, i) => {
      const row = [...(logits.data as Float32Array).slice(i * classes, (i + 1) * classes)];
      const sum = Math.log(row.reduce((total, logit) => total + Math.exp(logit), 0));
      row.forEach((logit, c) => {
        expect(Math.abs(optionScores![c]! - (logit - sum))).toBeLessThan(TOLERANCE);
      });
      expect(text).toBe(`LABEL_${row.indexOf(Math.max(...row))}`);
      expect(loss).toBeGreaterThan(0);
    });
  });
});

describe("a classifier's adapter and examples", () => {
  let trainer: Trainer;
  const request = {
    rank: 4,
    alpha: 8,
    rslora: false,
    dropout: 0,
    targets: ["query", "value"],
    rankPattern: {},
    alphaPattern: {},
    modulesToSave: ["classifier"],
  };
  beforeAll(async () => {
    trainer = await openOnnxTrainer({ model: join(MODELS, "bert-tiny-classifier"), threads: 1 });
  });
  afterAll(() => trainer.close());

  test("a fresh adapter begins with the base's own head, which training moves", async () => {
    const adapter = await trainer.createAdapter(request, "1");
    const reference = await readPeft(join(MODELS, "bert-tiny-classifier/reference/r4_a8_qv_head/adapter"));
    expect([...adapter.tensors.keys()]).toEqual([...reference.tensors.keys()]);
    const head = "base_model.model.classifier.weight";
    expect(adapter.tensors.get(head)!.shape).toEqual(reference.tensors.get(head)!.shape);
    const task = { maxNewTokens: 1, batchSize: 3 };
    const examples = referenceExamples("bert-tiny-classifier");
    const [base, fresh] = [
      await trainer.predict({ ...task, adapter: undefined }, examples, {}),
      await trainer.predict({ ...task, adapter }, examples, {}),
    ];
    fresh.forEach(({ optionScores }, i) => {
      optionScores!.forEach((score, c) => {
        expect(score).toBeCloseTo(base[i]!.optionScores![c]!, 5); // B is zero: the same model, other kernels
      });
    });
    const options = trainingOptions.parse({ learning_rate: 1e-2, max_steps: 1 });
    const trained = await trainer.train({ adapter, seed: "1", options }, examples, {});
    expect(trained.adapter.tensors.get(head)).not.toEqual(adapter.tensors.get(head));
  });

  test("a module to save that is not there is refused", async () => {
    await expect(trainer.createAdapter({ ...request, modulesToSave: ["score"] }, "1")).rejects.toMatchObject({
      code: "F2113",
    });
  });

  test("a label that is no class is refused with the classes", async () => {
    const adapter = await trainer.createAdapter({ ...request, modulesToSave: [] }, "1");
    const [example] = referenceExamples("bert-tiny-classifier");
    const train = trainer.train(
      { adapter, seed: "1", options: trainingOptions.parse({}) },
      [{ ...example!, label: "seven" }],
      {},
    );
    await expect(train).rejects.toMatchObject({
      code: "F2139",
      message:
        'Cannot train on example "0": its label must be one of "LABEL_0", "LABEL_1", "LABEL_2", got "seven"',
    });
  });
});
