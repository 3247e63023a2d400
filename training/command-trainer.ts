/**
 * The trainer that hands each task to a command of the user's, as files: whoever prefers PyTorch trains with it.
 * The files are described in docs/command-trainer.md; examples/pytorch is one.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { type Clock, systemClock } from "../base/clock.ts";
import { FedloomError } from "../base/errors.ts";
import { type Example, type Modality, modalitiesOf } from "../data/example.ts";
import { runCommand } from "./command/run-command.ts";
import {
  readOutputAdapter,
  readOutputJson,
  readOutputLines,
  readOutputSet,
  writeAdapter,
  writeExamples,
  writeSets,
  writeTask,
} from "./command/task-folder.ts";
import { assertSameBase } from "./lora-specs.ts";
import { baseHash } from "./models/base-hash.ts";
import { openModelDirectory } from "./models/model-directory.ts";
import type { Prediction, Progress, Trainer, TrainResult } from "./trainer.ts";

export interface CommandTrainerOptions {
  /** A line for the shell; it finds its task in the folder that FEDLOOM_TASK names. */
  readonly command: string;
  /** Model directory: what it is made of names the base, whatever the command trains with. */
  readonly model: string;
  readonly device?: string;
  readonly clock?: Clock;
}

const result = z.looseObject({
  steps: z.int().positive(),
  tokens: z.int().min(0).default(0),
  loss: z.number(),
  loss_first: z.number().optional(),
  loss_last: z.number().optional(),
  learning_rate_mean: z.number().optional(),
  loss_before: z.number().optional(),
});

const prediction = z.looseObject({
  id: z.string(),
  text: z.string(),
  option_scores: z.array(z.number()).optional(),
  loss: z.number().optional(),
  tokens: z.int().optional(),
});

const progress = z.looseObject({
  step: z.int().min(0),
  steps: z.int().positive(),
  epoch: z.number().default(0),
  loss: z.number().default(Number.NaN),
  learning_rate: z.number().default(0),
  tokens_per_second: z.number().default(0),
});

export async function openCommandTrainer({
  command,
  model,
  device = "cpu",
  clock = systemClock,
}: CommandTrainerOptions): Promise<Trainer> {
  const hash = await baseHash(await openModelDirectory(model));
  const shared = { model: resolve(model), device };
  return {
    name: "command",
    baseHash: hash,
    createAdapter: ({ train, init, ...config }, seed) =>
      inFolder(async (folder) => {
        if (init !== undefined) {
          throw new FedloomError(
            "F2113",
            `Cannot make an adapter with a training command: adapter.init must be absent, got "${init}"`,
            { init },
          );
        }
        await writeTask(folder, {
          kind: "adapter",
          ...shared,
          seed,
          adapter_config: {
            r: config.rank,
            lora_alpha: config.alpha,
            lora_dropout: config.dropout,
            use_rslora: config.rslora,
            target_modules: config.targets,
            rank_pattern: config.rankPattern,
            alpha_pattern: config.alphaPattern,
            modules_to_save: config.modulesToSave,
          },
          train: train ?? "decoder",
        });
        await runCommand({ command, folder, clock });
        const made = readOutputAdapter(folder);
        return { ...made, config: { ...made.config, base: hash } };
      }),
    train: (task, examples, { onProgress, signal }) =>
      inFolder(async (folder) => {
        assertSameBase(task.adapter, hash);
        if (examples.length === 0) throw new FedloomError("F2135", "Cannot train: the task has no examples");
        const { adapter, options, seed, extras = [], corrections = {}, optimizerState, ...asked } = task;
        await writeTask(folder, {
          kind: "train",
          ...shared,
          seed,
          adapter: await writeAdapter(folder, adapter),
          examples: await writeExamples(folder, examples),
          options,
          ...asked,
          extras,
          corrections: await writeSets(folder, "corrections", corrections),
          ...(optimizerState && {
            optimizer: await writeSets(folder, "state", { optimizer: optimizerState }),
          }),
        });
        await runCommand({
          command,
          folder,
          clock,
          signal,
          onLine: (line) => reportProgress(line, onProgress),
        });
        const numbers = await readOutputJson(folder, "result.json", result);
        const sets: [string, TrainResult["extras"][string]][] = [];
        for (const kind of extras) sets.push([kind, await readOutputSet(folder, kind)]);
        return {
          adapter: readOutputAdapter(folder, adapter),
          examples: examples.length,
          steps: numbers.steps,
          tokens: numbers.tokens,
          touched: touchedBy(examples),
          metrics: {
            loss: numbers.loss,
            lossFirst: numbers.loss_first ?? numbers.loss,
            lossLast: numbers.loss_last ?? numbers.loss,
            learningRateMean: numbers.learning_rate_mean ?? options.learning_rate,
            ...(numbers.loss_before === undefined ? {} : { lossBefore: numbers.loss_before }),
          },
          extras: Object.fromEntries(sets),
        };
      }),
    predict: (task, examples, { signal }) =>
      inFolder(async (folder) => {
        if (task.adapter !== undefined) assertSameBase(task.adapter, hash);
        await writeTask(folder, {
          kind: "predict",
          ...shared,
          adapter: task.adapter === undefined ? null : await writeAdapter(folder, task.adapter),
          examples: await writeExamples(folder, examples),
          max_new_tokens: task.maxNewTokens,
          batch_size: task.batchSize,
          option_score: task.optionScore ?? "mean",
          loss: task.loss === true,
        });
        await runCommand({ command, folder, clock, signal });
        const lines = await readOutputLines(folder, "predictions.jsonl", prediction);
        const byId = new Map(lines.map((line) => [line.id, line]));
        return examples.map(({ id }): Prediction => {
          const line = byId.get(id);
          if (line === undefined) {
            throw new FedloomError(
              "F2142",
              `Cannot use what the training command left: predictions.jsonl lacks "${id}"`,
            );
          }
          return {
            id,
            text: line.text,
            ...(line.option_scores && { optionScores: line.option_scores }),
            ...(line.loss === undefined ? {} : { loss: line.loss }),
            ...(line.tokens === undefined ? {} : { tokens: line.tokens }),
          };
        });
      }),
    close: async () => {},
  };
}

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "fedloom-task-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Lines that are no progress are none of ours; a command may print other JSON. */
function reportProgress(line: unknown, onProgress: ((progress: Progress) => void) | undefined): void {
  const parsed = progress.safeParse(line);
  if (!parsed.success) return;
  const {
    step,
    steps,
    epoch,
    loss,
    learning_rate: learningRate,
    tokens_per_second: tokensPerSecond,
  } = parsed.data;
  onProgress?.({ step, steps, epoch, loss, learningRate, tokensPerSecond });
}

function touchedBy(examples: readonly Example[]): TrainResult["touched"] {
  const all = examples.map(modalitiesOf);
  const count = (kind: Modality): number => all.filter((present) => present.includes(kind)).length;
  return { text: count("text"), image: count("image"), audio: count("audio") };
}
