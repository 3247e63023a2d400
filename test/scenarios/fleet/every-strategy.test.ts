/**
 * The demo's task with every strategy of the list: seven clients, real training, the coordinator with its journal
 * and blobs on disk. What a strategy asks of clients goes over the wire's messages and comes back.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readPeft } from "../../../adapters/peft.ts";
import { type BuiltStrategy, buildStrategy } from "../../../aggregators/build.ts";
import { STRATEGIES } from "../../../aggregators/index.ts";
import { silentLog } from "../../../base/log.ts";
import { embeddedModelDirectory } from "../../../cli/demo/assets.ts";
import { writePooledData } from "../../../cli/demo/data.ts";
import { runConfig } from "../../../config/run.ts";
import { examplesOf } from "../../../data/dataset.ts";
import type { Example } from "../../../data/example.ts";
import { openDataset } from "../../../data/open-dataset.ts";
import { startFleet } from "../../../scenarios/fleet/fleet.ts";
import { clientName } from "../../../scenarios/fleet/shards.ts";
import type { RoundRecord } from "../../../server/history.ts";
import { openOnnxTrainer } from "../../../training/onnx-trainer.ts";
import type { Trainer } from "../../../training/trainer.ts";
import { CONFIG } from "../../aggregators/small.ts";

/** Bulyan needs 4 f + 3 updates for f = 1. */
const CLIENTS = 7;
const EXAMPLES = 4;
/** Sessions are opened for each rank and shape, and the machine may be busy. */
const SLOW_MS = 240_000;

let folder: string;
let train: readonly Example[];
let trainer: Trainer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "fedloom-strategies-"));
  await writePooledData(join(folder, "data"), 1);
  train = examplesOf(await openDataset(join(folder, "data")), "train");
  trainer = await openOnnxTrainer({ model: embeddedModelDirectory(), threads: 1 });
}, SLOW_MS);

afterAll(async () => {
  await trainer.close();
  rmSync(folder, { recursive: true });
});

test.each(STRATEGIES.map(({ name }) => name))(
  "%s trains through the coordinator to a new, finite adapter",
  async (name) => {
    const built = buildStrategy({ name });
    const { needs } = built;
    const rounds = Math.min(2, needs.rounds ?? 2);
    const state = join(folder, name);
    const fleet = await startFleet({
      config: runConfig.parse({
        name,
        model: "-",
        adapter: { rank: 2, alpha: 4, targets: ["q_proj", "v_proj"], core: needs.core === true },
        rounds,
        seed: 1,
        cohort: { perRound: CLIENTS, quorum: CLIENTS },
        strategy: { name },
        training: { learning_rate: 5e-3, max_steps: 2, per_device_train_batch_size: 2 },
      }),
      trainer,
      device: "cpu",
      log: silentLog,
      state,
      clients: Array.from({ length: CLIENTS }, (_, i) => ({
        id: clientName(i, CLIENTS),
        shard: { train: train.slice(i * EXAMPLES, (i + 1) * EXAMPLES), heldOut: [] },
      })),
    });
    const { run } = fleet.engine;
    const files = join(state, "runs", run.id);
    try {
      await fleet.ended;
    } finally {
      await fleet.close();
    }
    expect(fleet.engine.run.stopped?.reason).toBeUndefined();
    expect(fleet.engine.run.phase).toBe("finished");
    expect(fleet.engine.rounds.map(({ ok, failed }) => [ok, failed])).toEqual(
      Array.from({ length: rounds }, () => [CLIENTS, 0]),
    );
    const lines = readFileSync(join(files, "metrics.jsonl"), "utf8").trim().split("\n");
    expect(lines).toHaveLength(rounds);
    for (const line of lines) expectDiagnostics(JSON.parse(line), built);
    expect(existsSync(join(files, "summary.json"))).toBe(true);
    const { tensors } = readPeft(join(files, "adapter"));
    const values = [...tensors.values()].flatMap(({ data }) => Array.from(data as ArrayLike<number>));
    expect(values.every(Number.isFinite)).toBe(true);
    // B began at zero: whatever the rule, a rank-2 product of zero would mean that nothing was learned.
    const moved = [...tensors].some(
      ([key, { data }]) => key.includes("lora_B") && data.some((value) => value !== 0),
    );
    const movedElsewhere = needs.changesBase === true || name === "fedsa-lora";
    expect(moved || movedElsewhere).toBe(true);
  },
  SLOW_MS,
);

/** Every round tells who moved how far and where to, who pulls against whom, what averaging lost, and what it took to send. */
function expectDiagnostics(
  { round, report, bytesUp }: RoundRecord,
  { strategy, needs }: BuiltStrategy,
): void {
  for (let i = 0; i < CLIENTS; i++) {
    const client = clientName(i, CLIENTS);
    expect(report[`norm.${client}`], client).toBeGreaterThan(0);
    expect(Math.abs(report[`cosine.${client}`]!), client).toBeLessThanOrEqual(1 + 1e-12);
  }
  expect(report.drift).toBeGreaterThan(0);
  expect(report.signConflict).toBeGreaterThan(0);
  expect(Object.keys(report).filter((key) => key.startsWith("signConflict.")).length).toBeGreaterThan(1);
  const groups = Object.entries(report).filter(([key]) => key.startsWith("bytesUp."));
  const sent = groups.reduce((sum, [, bytes]) => sum + bytes, 0);
  expect(report["bytesUp.shared"]).toBeGreaterThan(0);
  expect(sent).toBeLessThan(bytesUp); // headers and configurations come on top
  const nothing = { config: CONFIG, tensors: new Map() };
  const { travels } = strategy.plan?.(strategy.init(nothing), { round, client: "", global: nothing }) ?? {};
  // Where one factor stays at the clients, or the rest goes to the base, there is no product to miss.
  if (travels === undefined && needs.changesBase !== true) expect(report.productError).toBeGreaterThan(0);
}
