/**
 * A training command for tests: does the task of docs/command-trainer.md with the ONNX trainer, so that its results
 * can be compared to the bit. Its argument can make it misbehave.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readPeft, writePeft } from "../../adapters/peft.ts";
import { writeSafetensors } from "../../adapters/safetensors.ts";
import { tensorSet } from "../../adapters/tensor.ts";
import type { Example, Turn } from "../../data/example.ts";

const folder = process.env.FEDLOOM_TASK!;
const mode = process.argv[2];
const task = JSON.parse(readFileSync(join(folder, "task.json"), "utf8"));
const output = join(folder, "output");

if (mode === "fail") {
  console.log("loading");
  console.error("CUDA out of memory");
  process.exit(3);
}
if (mode === "nothing") process.exit(0);
if (mode === "hang") {
  console.log(JSON.stringify({ step: 1, steps: 100, loss: 1 }));
  setInterval(() => {}, 1000);
  await new Promise(() => {});
}

// Loaded late: a command that fails at once should not take half a second to do so.
const { openOnnxTrainer } = await import("../../training/onnx-trainer.ts");
const trainer = await openOnnxTrainer({ model: task.model, threads: 1 });
if (task.kind === "adapter") {
  const { adapter_config: config } = task;
  const request = {
    rank: config.r,
    alpha: config.lora_alpha,
    rslora: config.use_rslora,
    dropout: config.lora_dropout,
    targets: config.target_modules,
    rankPattern: config.rank_pattern,
    alphaPattern: config.alpha_pattern,
    modulesToSave: config.modules_to_save,
    train: task.train,
  };
  save(await trainer.createAdapter(request, task.seed));
} else if (task.kind === "train") {
  const {
    kind: _,
    version: __,
    model: ___,
    device: ____,
    adapter,
    examples,
    corrections: _____,
    ...asked
  } = task;
  const trained = await trainer.train(
    { ...asked, adapter: readPeft(join(folder, adapter)) },
    read(examples),
    {
      onProgress: ({ step, steps, loss }) => {
        if (step > 0) console.log(JSON.stringify({ step, steps, loss }));
      },
    },
  );
  const kept = [...trained.adapter.tensors].filter(
    ([name]) => mode !== "lose" || !name.includes("layers.0."),
  );
  save({ ...trained.adapter, tensors: tensorSet(kept) });
  const { loss, lossFirst, lossLast, learningRateMean, lossBefore } = trained.metrics;
  const result = {
    steps: trained.steps,
    tokens: trained.tokens,
    loss: mode === "text" ? "low" : loss,
    loss_first: lossFirst,
    loss_last: lossLast,
    learning_rate_mean: learningRateMean,
    loss_before: lossBefore,
  };
  writeFileSync(join(output, "result.json"), JSON.stringify(result));
  for (const [name, set] of Object.entries(trained.extras)) {
    writeFileSync(join(output, `${name}.safetensors`), writeSafetensors(set));
  }
} else {
  const predictions = await trainer.predict(
    {
      adapter: task.adapter === null ? undefined : readPeft(join(folder, task.adapter)),
      maxNewTokens: task.max_new_tokens,
      batchSize: task.batch_size,
      optionScore: task.option_score,
      loss: task.loss,
    },
    read(task.examples),
    {},
  );
  const lines = predictions.map(({ optionScores, ...line }) =>
    JSON.stringify({ ...line, option_scores: optionScores }),
  );
  writeFileSync(join(output, "predictions.jsonl"), lines.join("\n"));
}
await trainer.close();

function save(adapter: Parameters<typeof writePeft>[1]): void {
  mkdirSync(join(output, "adapter"), { recursive: true });
  writePeft(join(output, "adapter"), adapter);
}

function read(name: string): Example[] {
  const lines = readFileSync(join(folder, name), "utf8").trim().split("\n");
  return lines.map((line) => {
    const row: { id: string; messages: Turn[]; images: string[]; options?: string[] } = JSON.parse(line);
    const images = row.images.map((file) => ({
      name: file,
      read: async () => readFileSync(join(folder, file)),
    }));
    return {
      id: row.id,
      turns: row.messages,
      images,
      audios: [],
      ...(row.options === undefined ? {} : { options: row.options }),
    };
  });
}
