/**
 * Disks that lie: bits that flip, files that end too early, writes that fail. Whatever happens, the outcome is the
 * undisturbed run's adapter or an error with a code; never another adapter.
 */
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { armFailpoints, type Failpoint } from "../../base/failpoint.ts";
import { silentLog } from "../../base/log.ts";
import { createRng, type Rng } from "../../base/rng.ts";
import { runNode } from "../../client/node.ts";
import { holdConnection } from "../../client/standing.ts";
import { openState } from "../../client/state.ts";
import { runConfig } from "../../config/run.ts";
import type { RunEngine } from "../../server/engine.ts";
import { startCoordinator } from "../../server/start.ts";
import { fleetHash, RUN } from "../e2e/federation.ts";
import { createToyTrainer, toyAdapter, toyExamples } from "../toy-trainer.ts";
import { LONG } from "./lives.ts";

const ROUNDS = 3;
const TIMEOUT_MS = LONG ? 3_600_000 : 300_000;

let undisturbed: string;
beforeAll(async () => {
  undisturbed = `finished ${await fleetHash({ rounds: ROUNDS })}`;
}, TIMEOUT_MS);

afterEach(() => armFailpoints(""));

/** One life of coordinator and two clients in this process, their states on disk. */
async function live(
  directory: string,
  options: { until?: (engine: RunEngine) => boolean; resume?: boolean } = {},
): Promise<string> {
  const ending = new AbortController();
  const nodes: Promise<void>[] = [];
  let close = async (): Promise<void> => {};
  const coded = (error: unknown): string =>
    error instanceof FedloomError ? `${error.code}: ${error.message}` : `no code: ${messageOf(error)}`;
  try {
    const started = await startCoordinator({
      state: join(directory, "coordinator"),
      log: silentLog,
      model: { createAdapter: async () => toyAdapter() },
    });
    const { coordinator } = started;
    close = started.close;
    const config = runConfig.parse({ ...RUN, rounds: ROUNDS });
    const engine = await coordinator.submitRun({ config, key: "the run" });
    if (options.resume === true && engine.run.stopped !== undefined) await coordinator.resume(engine.row.id);
    for (const name of ["c1", "c2"]) nodes.push(client(name));
    const ended = new Promise<string>((resolve) => {
      const look = (): void => {
        const { phase, global, stopped } = engine.run;
        if (phase === "finished") resolve(`finished ${global!.model.sha256}`);
        else if (stopped !== undefined) resolve(`stopped by ${stopped.code}: ${stopped.reason}`);
        else if (options.until?.(engine) === true) resolve("interrupted");
      };
      engine.onEvent(look);
      look();
    });
    const broken = coordinator.broken.catch((error: unknown) => `broken by ${coded(error)}`);
    return await Promise.race([
      ended,
      broken,
      ...nodes.map((node) =>
        node.then(
          () => "",
          (error: unknown) => `client ended by ${coded(error)}`,
        ),
      ),
    ]);

    async function client(name: string): Promise<void> {
      const fleet = coordinator.fleet({ address: "in process" });
      const rng = createRng(name);
      const state = openState(join(directory, name), name);
      try {
        await runNode({
          fleet,
          open: (hello, events) => holdConnection(fleet, hello, events, { clock: systemClock, rng }),
          trainer: createToyTrainer(),
          device: "cpu",
          shard: { train: toyExamples(name, 4), heldOut: toyExamples(`${name}-held`, 2) },
          state,
          clock: systemClock,
          rng,
          log: silentLog,
          signal: ending.signal,
        });
      } finally {
        state.close();
      }
    }
  } catch (error) {
    return `refused by ${coded(error)}`;
  } finally {
    ending.abort();
    await Promise.allSettled(nodes);
    await close().catch(() => undefined); // a broken store does not close either
  }
}

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

function filesOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile() && statSync(path).size > 0)
    .sort();
}

const DAMAGES: Readonly<Record<string, (path: string, rng: Rng) => void>> = {
  "bits flip": (path, rng) => {
    const bytes = readFileSync(path);
    for (let flips = 0; flips < 3; flips++) bytes[rng.below(bytes.length)]! ^= 1 << rng.below(8);
    writeFileSync(path, bytes);
  },
  "a file is torn": (path, rng) => truncateSync(path, rng.below(statSync(path).size)),
};

const seed = createRng("damage");
const tries = LONG ? 100 : 6;
const cases = Object.keys(DAMAGES).flatMap((damage) =>
  ["coordinator", "c1"].map((whose) => ({ damage, whose })),
);

test.each(cases)(
  `when $damage in a file of $whose (${tries} times), nothing wrong is aggregated`,
  async ({ damage, whose }) => {
    const outcomes = new Map<string, number>();
    for (let i = 0; i < tries; i++) {
      const directory = temporary();
      const rng = seed.fork(damage, whose, i);
      // Round 2 with one update in the journal and one on its way: disks are as full as they ever are.
      const half = await live(directory, {
        until: ({ run }) =>
          run.number === 2 &&
          [...(run.round?.members.values() ?? [])].some(({ status }) => status === "received"),
      });
      expect(half).toBe("interrupted");
      const [path] = rng.sample(filesOf(join(directory, whose)), 1);
      DAMAGES[damage]!(path!, rng);
      const outcome = await live(directory);
      if (outcome !== undisturbed) expect(outcome, `after ${path}`).toMatch(/ by F\d{4}: /);
      const kind = outcome === undisturbed ? "same adapter" : outcome.slice(0, outcome.indexOf(":"));
      outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
    }
    console.log(
      `${damage}, ${whose}: ${[...outcomes].map(([kind, count]) => `${kind} ${count} x`).join(", ")}`,
    );
  },
  TIMEOUT_MS,
);

const WRITES: readonly Failpoint[] = [
  "server.chunk-written",
  "server.blob-syncing",
  "server.blob-synced",
  "server.blob-renamed",
  "server.event-appending",
  "server.event-syncing",
  "server.published",
  "client.state-write",
  "client.blob-append",
  "client.blob-write",
];

test.each(WRITES.flatMap((name) => ["ENOSPC", "EIO"].map((errno) => ({ name, errno }))))(
  "$errno at $name ends in the same adapter, or in an error with a code from which the run goes on",
  async ({ name, errno }) => {
    const directory = temporary();
    armFailpoints(`${name}=error:${errno}@3`);
    const outcome = await live(directory);
    if (outcome !== undisturbed) {
      expect(outcome).toMatch(/ by F\d{4}: .*(ENOSPC|EIO)/);
      armFailpoints("");
      expect(await live(directory, { resume: true })).toBe(undisturbed);
    }
  },
  TIMEOUT_MS,
);
