import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { embeddedModelDirectory } from "../../../cli/demo/assets.ts";
import type { Modality } from "../../../data/example.ts";
import { makeStandin } from "../../../data/standins/make.ts";
import { memes } from "../../../data/standins/memes.ts";
import { tune } from "../../../scenarios/nano/tuning.ts";
import { openOnnxTrainer } from "../../../training/onnx-trainer.ts";
import type { Trainer } from "../../../training/trainer.ts";

/** Sixty steps and two evaluations, three times. */
const SLOW_MS = 600_000;
const ROWS = { train: 1000, test: 200 };

let data: string;
let trainer: Trainer;

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), "fedloom-tuning-"));
  await makeStandin({ ...memes, sizes: { ...memes.sizes, quick: ROWS } }, data, {
    profile: "quick",
    seed: 3,
  });
  trainer = await openOnnxTrainer({ model: embeddedModelDirectory(), threads: 1 });
}, SLOW_MS);

afterAll(async () => {
  await trainer.close();
  rmSync(data, { recursive: true });
});

async function aucOf(kept: readonly Modality[], steps: number): Promise<number> {
  const task = {
    dataset: "hateful-memes",
    steps,
    batch: 16,
    learningRate: 5e-3,
    testLimit: ROWS.test,
  } as const;
  const { after } = await tune(task, kept, { trainer, data, seed: "test" });
  return after.auc!;
}

test(
  "the meme-like set is learned from picture and text together",
  async () => expect(await aucOf(["text", "image"], 60)).toBeGreaterThan(90),
  SLOW_MS,
);

// Without a relation between score and label the AUC of 100 against 100 rows has a standard deviation of 4.1 points
// (sqrt(201 / (12 * 100 * 100))); but rows come in pairs of one picture, which only lowers it.
const FOUR_DEVIATIONS = 16.4;

test.each([["text"], ["image"]] as const)(
  "the meme-like set stays at chance from the %s alone",
  async (kept) => expect(Math.abs((await aucOf([kept], 60)) - 50)).toBeLessThan(FOUR_DEVIATIONS),
  SLOW_MS,
);
