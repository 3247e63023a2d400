/**
 * node scripts/tune-nano.ts [--model DIR] [--seed TEXT] [--threads N]: fine-tunes the embedded model on the stand-ins
 * with both modalities, text alone and pictures alone, and writes what came out into the model's card.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { STANDINS } from "../data/standins/index.ts";
import { makeStandin } from "../data/standins/make.ts";
import { withTuning } from "../scenarios/nano/card.ts";
import { KEPT, TUNING_TASKS, tune } from "../scenarios/nano/tuning.ts";
import { openOnnxTrainer } from "../training/onnx-trainer.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "assets/models/fedloom-nano" },
    seed: { type: "string", default: "tuning" },
    threads: { type: "string", default: "2" },
  },
});

/** Metrics shown, by their names in scores. */
const SHOWN: Readonly<Record<string, string>> = {
  auc: "AUC",
  "f1-macro": "macro F1",
  "vqa-open": "open questions",
  "vqa-closed": "closed questions",
  "slake-vqa": "in other words (transfer)",
};

const data = mkdtempSync(join(tmpdir(), "fedloom-nano-"));
const trainer = await openOnnxTrainer({
  model: values.model,
  device: "cpu",
  threads: Number(values.threads),
});
try {
  for (const standin of STANDINS) await makeStandin(standin, data, { profile: "standard", seed: 7 });
  const rows: string[] = [];
  for (const task of TUNING_TASKS) {
    for (const kept of KEPT) {
      const { zeroShot, after } = await tune(task, kept, { trainer, data, seed: values.seed });
      for (const [metric, title] of Object.entries(SHOWN)) {
        const [before, score] = [zeroShot[metric], after[metric]];
        if (before === undefined || score === undefined) continue;
        const cells = [
          task.dataset,
          title,
          kept.join(" and "),
          before.toFixed(1),
          score.toFixed(1),
          task.steps,
        ];
        rows.push(`| ${cells.join(" | ")} |`);
        console.log(rows.at(-1));
      }
    }
  }
  const card = join(values.model, "README.md");
  writeFileSync(card, withTuning(readFileSync(card, "utf8"), rows));
} finally {
  await trainer.close();
  rmSync(data, { recursive: true });
}
