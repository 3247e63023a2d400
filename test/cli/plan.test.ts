/** What `plan` foretells is what a run then sends. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { embeddedModelDirectory } from "../../cli/demo/assets.ts";
import { writeDemoData } from "../../cli/demo/data.ts";
import { fedloom } from "./process.ts";

/** Two processes start in each, one after the other; beside other tests on two cores each takes seconds. */
const TIMEOUT_MS = 120_000;

const directory = mkdtempSync(join(tmpdir(), "fedloom-plan-"));
afterAll(() => rmSync(directory, { recursive: true }));
const file = join(directory, "run.yaml");

beforeAll(async () => {
  await writeDemoData(join(directory, "data"), 3);
  writeFileSync(
    file,
    [
      "name: planned",
      `model: ${JSON.stringify(embeddedModelDirectory())}`,
      "adapter: { rank: 4, alpha: 8 }",
      "rounds: 1",
      "cohort: { perRound: 2 }",
      "training: { learning_rate: 5e-3, max_steps: 1, per_device_train_batch_size: 8 }",
      "fleet: { clients: 2, data: data/harbor }",
      "",
    ].join("\n"),
  );
});

test.each([
  ["everything, as it is", []],
  ["differences in 8 bits", ["codec=int8"]],
  ["one of two factors, in float16", ["strategy.name=ffa-lora", "codec=fp16"]],
  [
    "the Fisher information beside it, in 8 bits of its logarithm",
    ["strategy.name=fisher", "strategy.wire=log8"],
  ],
])(
  "bytes of a round where clients send %s",
  async (_what, settings) => {
    const set = settings.flatMap((setting) => ["--set", setting]);
    const plan = JSON.parse((await fedloom("plan", file, ...set, "--json")).stdout);
    const out = join(directory, settings.join("+") || "plain");
    const run = JSON.parse((await fedloom("run", file, ...set, "--out", out, "--json")).stdout);
    const { bytesDown, bytesUp } = JSON.parse(readFileSync(join(run.directory, "metrics.jsonl"), "utf8"));
    expect(plan.roundBytes).toEqual({ down: bytesDown, up: bytesUp });
    expect(plan.runBytes).toBe(bytesDown + bytesUp);
    expect(plan.updateBytes).toBe(bytesUp / 2);
  },
  TIMEOUT_MS,
);
