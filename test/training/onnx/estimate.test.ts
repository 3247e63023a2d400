/** The estimate of a step's memory against the peak of a process that takes the step, for each way of taking it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type DecoderShape, writeDecoder } from "../../../bench/train/decoder.ts";
import { Side } from "../../../bench/train/side.ts";

const folder = mkdtempSync(join(tmpdir(), "fedloom-estimate-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The benchmark's decoder with fewer layers and words: weights, activations and the process itself count alike. */
const shape: DecoderShape = {
  layers: 8,
  hidden: 576,
  heads: 9,
  keyHeads: 3,
  headSize: 64,
  ffn: 1536,
  vocabulary: 8192,
};
const model = writeDecoder(folder, shape);
const lengths = [128, 96, 64, 112];

// Processes of their own on a machine that others use.
test.each(["lean", "fast", "recompute"] as const)(
  "%s: within a quarter of what is measured",
  { timeout: 240_000 },
  async (mode) => {
    const more = {
      name: mode,
      batch: 4,
      length: 128,
      lengths,
      labels: 64,
      threads: 1,
      device: "cpu",
    } as const;
    const side = await Side.ours({ ...more, shape, model, mode });
    try {
      await side.ask("step");
      const { rss } = await side.ask("step");
      const ratio = (await side.estimate()) / rss;
      expect(ratio).toBeGreaterThan(0.75);
      expect(ratio).toBeLessThan(1.25);
    } finally {
      side.close();
    }
  },
);
