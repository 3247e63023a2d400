/** All trainers pass one contract, and the two engines of this process agree on numbers. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { openTrainer } from "../../cli/trainers.ts";
import { trainingOptions } from "../../config/training.ts";
import { openCommandTrainer } from "../../training/command-trainer.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import { loadTfjs } from "../../training/tfjs/load.ts";
import { openTfjsTrainer } from "../../training/tfjs-trainer.ts";
import type { AdapterRequest, Trainer } from "../../training/trainer.ts";
import { CONTRACT_MODEL, contractExamples, REQUEST, trainerContract } from "./trainer-contract.ts";

/** The command starts a process a task; opening a model takes a second, many on a machine whose cores others use. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const model = CONTRACT_MODEL;
const script = join(import.meta.dirname, "training-command.ts");
const openTfjs = async (): Promise<Trainer> => openTfjsTrainer({ model, tfjs: await loadTfjs("cpu") });

trainerContract("onnx", () => openOnnxTrainer({ model, threads: 1 }));
describe("with weights repacked", () => {
  trainerContract("onnx", () => openOnnxTrainer({ model, threads: 1, mode: "fast" }));
});
trainerContract("command", () =>
  openCommandTrainer({ command: `"${process.execPath}" "${script}" well`, model }),
);
trainerContract("tfjs", openTfjs);

test("only the onnx trainer repacks weights", async () => {
  const asked = openTrainer("tfjs", { model, device: "cpu", mode: "fast" });
  await expect(asked).rejects.toThrow("Cannot open the tfjs trainer: --fast is for --trainer onnx");
});

describe("tfjs and onnxruntime", () => {
  let tfjs: Trainer;
  let onnx: Trainer;
  beforeAll(async () => {
    [tfjs, onnx] = await Promise.all([openTfjs(), openOnnxTrainer({ model, threads: 1 })]);
  });
  afterAll(() => Promise.all([tfjs.close(), onnx.close()]));

  test("train the whole model to the same adapter, with dropout and decay", async () => {
    const request: AdapterRequest = { ...REQUEST, train: "all", dropout: 0.1, targets: "all-linear" };
    const adapter = await onnx.createAdapter(request, "1");
    expect(await tfjs.createAdapter(request, "1")).toEqual(adapter);
    const options = trainingOptions.parse({
      learning_rate: 1e-3,
      weight_decay: 0.1,
      per_device_train_batch_size: 3,
      gradient_accumulation_steps: 2,
      max_steps: 2,
    });
    const task = { adapter, seed: "s", options };
    const examples = await contractExamples(6);
    const [mine, theirs] = [await tfjs.train(task, examples, {}), await onnx.train(task, examples, {})];
    expect(mine.metrics.loss).toBeCloseTo(theirs.metrics.loss, 4);
    // As test/golden/models/README.md says: one AdamW step moves a weight by up to the learning rate.
    for (const [name, { data }] of theirs.adapter.tensors)
      (mine.adapter.tensors.get(name)!.data as Float32Array).forEach((value, i) => {
        expect(Math.abs(value - (data[i] as number)), name).toBeLessThan(1e-4);
      });
  });

  test("say the same", async () => {
    const adapter = await onnx.createAdapter(REQUEST, "1");
    const [asked, ...more] = await contractExamples(4);
    const { options: _, ...open } = asked!;
    const task = { adapter, maxNewTokens: 4, batchSize: 2, loss: true };
    const [mine, theirs] = [
      await tfjs.predict(task, [open, ...more], {}),
      await onnx.predict(task, [open, ...more], {}),
    ];
    expect(mine.map(({ text }) => text)).toEqual(theirs.map(({ text }) => text));
    mine.forEach(({ loss, optionScores = [] }, i) => {
      expect(loss).toBeCloseTo(theirs[i]!.loss!, 4);
      optionScores.forEach((score, o) => {
        expect(score).toBeCloseTo(theirs[i]!.optionScores![o]!, 4);
      });
    });
  });
});
