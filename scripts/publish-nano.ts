/**
 * node scripts/publish-nano.ts --from DIR --out DIR: examines the last checkpoint of a pretraining and writes the
 * model directory with its card.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { nanoCard } from "../scenarios/nano/card.ts";
import { readCheckpoint } from "../scenarios/nano/checkpoint-file.ts";
import type { Stage } from "../scenarios/nano/course.ts";
import { examine } from "../scenarios/nano/examine.ts";
import { nanoTokenizer } from "../scenarios/nano/nano-codec.ts";
import { publish } from "../scenarios/nano/publish.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "pretrain" },
    out: { type: "string", default: "assets/models/fedloom-nano" },
    batches: { type: "string", default: "16" },
  },
});

const checkpoint = readCheckpoint(values.from);
if (checkpoint === undefined)
  throw new Error(`"${values.from}" holds no checkpoint; run "npm run pretrain" first`);
const tokenizer = nanoTokenizer();
const options = { codec: tokenizer, folder: values.from, threads: 2, batches: Number(values.batches) };
const scores = await examine(checkpoint.weights, options);
for (const [kind, { answers, right, byQuestion = {} }] of Object.entries(scores)) {
  console.log(`${kind.padEnd(14)} ${((100 * right) / answers).toFixed(1)} % of ${answers} answers`);
  for (const [question, part] of Object.entries(byQuestion))
    console.log(
      `  ${question.padEnd(12)} ${((100 * part.right) / part.answers).toFixed(1)} % of ${part.answers}`,
    );
}
const log = readFileSync(join(values.from, "progress.jsonl"), "utf8").trim().split("\n");
const total = (key: string): number => log.reduce((sum, line) => sum + Number(JSON.parse(line)[key]), 0);
const stepsOf = (stage: Stage): number =>
  Math.max(0, ...log.map((line) => JSON.parse(line)).map((row) => (row.stage === stage ? row.step : 0)));
const steps = { alignment: stepsOf("alignment"), lessons: stepsOf("lessons"), practice: stepsOf("practice") };
const cost = { seconds: total("seconds"), cpuSeconds: total("cpuSeconds"), steps };
publish(values.out, checkpoint.weights, tokenizer, nanoCard(checkpoint, scores, tokenizer.vocabulary, cost));
