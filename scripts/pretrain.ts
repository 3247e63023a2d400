/**
 * npm run pretrain -- [--out DIR] [--seed TEXT] [--alignment-steps N] [--lesson-steps N]
 *   [--practice-steps N] [--threads N]
 *
 * Trains the embedded model fedloom-nano from nothing. Stopped at any moment, the same command goes on from the
 * last checkpoint in DIR.
 */
import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startAnew } from "../bin/start-memory.mjs";
import { readCheckpoint, saveCheckpoint } from "../scenarios/nano/checkpoint-file.ts";
import type { PretrainProgress } from "../scenarios/nano/course.ts";
import { nanoTokenizer } from "../scenarios/nano/nano-codec.ts";
import { pretrain } from "../scenarios/nano/pretrain.ts";

startAnew();

const { values } = parseArgs({
  options: {
    out: { type: "string", default: "pretrain" },
    seed: { type: "string", default: "fedloom-nano" },
    "alignment-steps": { type: "string", default: "800" },
    "lesson-steps": { type: "string", default: "3200" },
    "practice-steps": { type: "string", default: "1800" },
    threads: { type: "string", default: "1" },
  },
});

/** Steps between two lines of progress. */
const REPORT_STEPS = 50;

mkdirSync(values.out, { recursive: true });
const tokenizer = nanoTokenizer();
const from = readCheckpoint(values.out);
if (from !== undefined) console.log(`going on after step ${from.step} of stage "${from.stage}"`);

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const counted = () => ({ steps: 0, loss: 0, tokens: 0, atMs: performance.now(), atCpu: cpuSeconds() });

let since = counted();
function report(progress: PretrainProgress): void {
  since = {
    ...since,
    steps: since.steps + 1,
    loss: since.loss + progress.loss,
    tokens: since.tokens + progress.tokens,
  };
  if (progress.step % REPORT_STEPS !== 0 && progress.step !== progress.steps) return;
  const seconds = (performance.now() - since.atMs) / 1000;
  const loss = since.loss / since.steps;
  const left = ((progress.steps - progress.step) * seconds) / since.steps / 60;
  const speed = Math.round(since.tokens / seconds);
  const { stage, step, steps } = progress;
  console.log(
    `${stage} ${step}/${steps}  loss ${loss.toFixed(4)}  ${speed} tokens/s  ${left.toFixed(0)} min left`,
  );
  const row = { stage, step, loss, seconds, cpuSeconds: cpuSeconds() - since.atCpu };
  appendFileSync(join(values.out, "progress.jsonl"), `${JSON.stringify(row)}\n`);
  since = counted();
}

await pretrain(
  {
    seed: values.seed,
    alignmentSteps: Number(values["alignment-steps"]),
    lessonSteps: Number(values["lesson-steps"]),
    practiceSteps: Number(values["practice-steps"]),
    codec: tokenizer,
    vocabulary: tokenizer.vocabulary,
    folder: values.out,
    threads: Number(values.threads),
  },
  { onStep: report, saveEvery: 200, save: (checkpoint) => saveCheckpoint(values.out, checkpoint) },
  from,
);
