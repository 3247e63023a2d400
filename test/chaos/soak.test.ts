/** Memory does not grow with rounds: a fleet of clients and their coordinator, round after round. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import { silentLog } from "../../base/log.ts";
import { runConfig } from "../../config/run.ts";
import { startFleet } from "../../scenarios/fleet/fleet.ts";
import { clientName } from "../../scenarios/fleet/shards.ts";
import { RUN } from "../e2e/federation.ts";
import { createToyTrainer, toyExamples } from "../toy-trainer.ts";
import { LONG } from "./lives.ts";

const ROUNDS = LONG ? 200 : 40;
const CLIENTS = LONG ? 50 : 6;
const MIB = 2 ** 20;
/** A round's record, and some noise of the collector; one update kept by mistake would be 0.12 MiB a client and round. */
const MOST_GROWTH_MIB_A_ROUND = 0.1;
/** Caches fill and code is compiled before this. */
const WARM_UP_ROUNDS = LONG ? 50 : 15;

test(
  `${ROUNDS} rounds of ${CLIENTS} clients: memory grows by less than ${MOST_GROWTH_MIB_A_ROUND} MiB a round`,
  async () => {
    setFlagsFromString("--expose-gc");
    const collect: () => void = runInNewContext("gc");
    const state = mkdtempSync(join(tmpdir(), "fedloom-"));
    onTestFinished(() => rmSync(state, { recursive: true }));
    const names = Array.from({ length: CLIENTS }, (_, i) => clientName(i, CLIENTS));
    const fleet = await startFleet({
      config: runConfig.parse({ ...RUN, rounds: ROUNDS, cohort: { perRound: CLIENTS, quorum: CLIENTS } }),
      trainer: createToyTrainer({ steps: 1, width: 16_000 }),
      device: "cpu",
      log: silentLog,
      state,
      clients: names.map((id) => ({ id, shard: { train: toyExamples(id, 2), heldOut: [] } })),
    });
    onTestFinished(() => fleet.close());
    const samples: { round: number; mib: number }[] = [];
    fleet.engine.onEvent(({ event }) => {
      if (event.type !== "published") return;
      // What the first finds is swept beside this thread, on a busy machine late; the second waits for that.
      collect();
      collect();
      const { heapUsed, external } = process.memoryUsage(); // external holds array buffers too
      samples.push({ round: fleet.engine.rounds.length, mib: (heapUsed + external) / MIB });
    });
    await fleet.ended;
    const slope = slopeOf(samples.filter(({ round }) => round > WARM_UP_ROUNDS));
    console.log(
      `${ROUNDS} rounds x ${CLIENTS} clients: ${samples.at(-1)!.mib.toFixed(0)} MiB at the end, ${slope.toFixed(4)} MiB a round`,
    );
    expect(slope).toBeLessThan(MOST_GROWTH_MIB_A_ROUND);
  },
  LONG ? 3_600_000 : 300_000,
);

/** Least squares. */
function slopeOf(samples: readonly { round: number; mib: number }[]): number {
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(samples.map(({ round }) => round)), mean(samples.map(({ mib }) => mib))];
  const covariance = mean(samples.map(({ round, mib }) => (round - x) * (mib - y)));
  return covariance / mean(samples.map(({ round }) => (round - x) ** 2));
}
