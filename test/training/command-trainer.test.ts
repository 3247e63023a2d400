import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { FedloomError } from "../../base/errors.ts";
import { trainingOptions } from "../../config/training.ts";
import type { Example } from "../../data/example.ts";
import { openCommandTrainer } from "../../training/command-trainer.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import type { Trainer, TrainTask } from "../../training/trainer.ts";

const model = join(import.meta.dirname, "../golden/models/smolvlm-tiny");
const script = join(import.meta.dirname, "training-command.ts");

/** The command runs in a process of its own that loads everything anew: a second, many on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const commandTrainer = (mode = "well") =>
  openCommandTrainer({ command: `"${process.execPath}" "${script}" ${mode}`, model });

async function examples(): Promise<Example[]> {
  const background = { r: 200, g: 30, b: 30 };
  const bytes = await sharp({ create: { width: 8, height: 8, channels: 3, background } })
    .png()
    .toBuffer();
  const image = { name: "red.png", read: async () => bytes };
  const turns = [
    { role: "user", content: "what ?" },
    { role: "assistant", content: "red" },
  ] as const;
  return [
    { id: "a", turns, images: [image], audios: [], options: ["red", "blue"] },
    { id: "b", turns, images: [], audios: [], options: ["red", "blue"] },
    { id: "c", turns: [{ role: "user", content: "" }, turns[1]], images: [image], audios: [] },
  ];
}

let onnx: Trainer;
let adapter: Adapter;
let task: TrainTask;
beforeAll(async () => {
  onnx = await openOnnxTrainer({ model, threads: 1 });
  const request = { rank: 2, alpha: 4, rslora: false, dropout: 0, targets: ["q_proj"], modulesToSave: [] };
  adapter = await onnx.createAdapter({ ...request, rankPattern: {}, alphaPattern: {} }, "1");
  const options = trainingOptions.parse({
    max_steps: 2,
    per_device_train_batch_size: 2,
    learning_rate: 1e-3,
  });
  task = { adapter, options, seed: "s" };
});
afterAll(() => onnx.close());

async function failure(running: Promise<unknown>): Promise<FedloomError> {
  const error = await running.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(FedloomError);
  return error as FedloomError;
}

describe("a task through files", () => {
  test("is trained as it would be without them, with progress", async () => {
    const seen: number[] = [];
    const trainer = await commandTrainer();
    expect(trainer.baseHash).toBe(onnx.baseHash);
    const asked: TrainTask = { ...task, extras: ["fisher"], measure: ["lossBefore"], frozen: "layers\\.0" };
    const result = await trainer.train(asked, await examples(), {
      onProgress: ({ step }) => seen.push(step),
    });
    expect(result).toEqual(await onnx.train(asked, await examples(), {}));
    expect(seen).toEqual([1, 2]);
  });

  test("is predicted as it would be without them", async () => {
    const asked = { adapter, maxNewTokens: 3, batchSize: 2, loss: true, optionScore: "sum" } as const;
    const predicted = await (await commandTrainer()).predict(asked, await examples(), {});
    expect(predicted).toEqual(await onnx.predict(asked, await examples(), {}));
  });

  test("gives a fresh adapter", async () => {
    const request = { rank: 2, alpha: 4, rslora: false, dropout: 0, targets: ["q_proj"], modulesToSave: [] };
    const made = await (await commandTrainer()).createAdapter(
      { ...request, rankPattern: {}, alphaPattern: {} },
      "1",
    );
    expect(made.tensors).toEqual(adapter.tensors);
    expect(made.config.base).toBe(onnx.baseHash);
  });

  test("leaves nothing in the temporary folder, though it fails", async () => {
    const folders = async () => (await readdir(tmpdir())).filter((name) => name.startsWith("fedloom-task-"));
    const before = await folders();
    await failure((await commandTrainer("fail")).train(task, await examples(), {}));
    expect((await folders()).filter((name) => !before.includes(name))).toEqual([]);
  });
});

describe("a command that does not do its part is told apart", () => {
  test("it fails: the exit code in the message, its output in the cause only", async () => {
    const error = await failure((await commandTrainer("fail")).train(task, await examples(), {}));
    expect(error.code).toBe("F2141");
    expect(error.message).toBe(
      "Cannot finish the task: the training command ended with exit code 3; the client's log has its last lines",
    );
    expect((error.cause as Error).message.split("\n").toSorted()).toEqual(["CUDA out of memory", "loading"]);
  });

  test("it is not there", async () => {
    const trainer = await openCommandTrainer({ command: "no-such-command-of-ours", model });
    expect((await failure(trainer.train(task, await examples(), {}))).code).toBe("F2141");
  });

  test("it leaves nothing", async () => {
    const error = await failure((await commandTrainer("nothing")).train(task, await examples(), {}));
    expect(error.code).toBe("F2142");
    expect(error.message).toMatch(
      /^Cannot use what the training command left: output\/result.json cannot be read/,
    );
  });

  test("it loses a module", async () => {
    const error = await failure((await commandTrainer("lose")).train(task, await examples(), {}));
    const [first] = adapter.tensors.keys();
    expect(error.code).toBe("F2142");
    expect(error.message).toBe(
      `Cannot use what the training command left: tensor "${first}" must have shape [2, 48], got none`,
    );
  });

  test("it writes a word for a number", async () => {
    const error = await failure((await commandTrainer("text")).train(task, await examples(), {}));
    expect(error.code).toBe("F2142");
    expect(error.message).toMatch(
      /^Cannot use what the training command left: output\/result.json: at "loss":/,
    );
  });

  test("it is stopped", async () => {
    const abort = new AbortController();
    const running = (await commandTrainer("hang")).train(task, await examples(), {
      signal: abort.signal,
      onProgress: () => abort.abort(),
    });
    expect((await failure(running)).code).toBe("F2136");
  });
});

test("no examples are refused without starting anything", async () => {
  const trainer = await openCommandTrainer({ command: "no-such-command-of-ours", model });
  expect((await failure(trainer.train(task, [], {}))).code).toBe("F2135");
});
