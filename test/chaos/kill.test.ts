/**
 * The promise: kill anything at any moment; the final adapter is bit for bit that of the undisturbed run, and no
 * finished work of a client is done twice.
 */
import { expect, test } from "vitest";
import type { Failpoint } from "../../base/failpoint.ts";
import { createRng } from "../../base/rng.ts";
import { dieAtEach, dieAtMoments, LONG, OF_RUNS, undisturbedHash } from "./lives.ts";

/** Every death takes a start, some a round; a loaded machine takes its time. */
const TIMEOUT_MS = LONG ? 3_600_000 : 300_000;

/**
 * A client killed there loses a training that it had not yet made durable; anywhere else it loses none. Of the
 * writes to its state the first notes the task, the second is the one that makes the result durable.
 */
const beforeDurable = (name: Failpoint, pass: number): boolean =>
  ["client.trained", "client.blob-write", "client.update-written"].includes(name) ||
  (name === "client.state-write" && pass === 2);

/** Enough for each life to come to its failpoint; several lives fall into one round. */
const ROUNDS = 12;

/** The end of the run comes last; the rest in the order of the table. */
const ordered = OF_RUNS.toSorted(
  (a, b) => Number(a === "server.finishing") - Number(b === "server.finishing"),
);

const passes = LONG ? [1, 2, 3] : [1];

test.each(passes)(
  "killed at each failpoint, at pass %d: same adapter, no finished training twice",
  async (pass) => {
    // The end of the run is passed once.
    const failpoints = ordered.map((name) => ({ name, pass: name === "server.finishing" ? 1 : pass }));
    const outcome = await dieAtEach(ROUNDS * pass, failpoints);
    expect(outcome.visited.toSorted()).toEqual(OF_RUNS.toSorted());
    expect(outcome.hash).toBe(await undisturbedHash(ROUNDS * pass));
    const lost = failpoints.filter((one) => beforeDurable(one.name, one.pass)).length;
    expect(outcome.ended).toBe(2 * ROUNDS * pass + lost);
    console.log(`pass ${pass}: ${outcome.kills} kills at ${outcome.visited.length} failpoints, hashes equal`);
  },
  TIMEOUT_MS,
);

test(
  "killed at random moments: same adapter, each kill costs at most the training it interrupted",
  async () => {
    const rng = createRng("random moments");
    const kills = LONG ? 150 : 6;
    const rounds = LONG ? 120 : 12;
    const moments = Array.from({ length: kills }, () => ({
      who: rng.sample(["coordinator", "c1", "c2"] as const, 1)[0]!,
      afterMs: rng.uniform() * 1500,
    }));
    const outcome = await dieAtMoments(rounds, moments);
    expect(outcome.hash).toBe(await undisturbedHash(rounds));
    const ofClients = moments.slice(0, outcome.kills).filter(({ who }) => who !== "coordinator").length;
    expect(outcome.begun).toBeLessThanOrEqual(2 * rounds + ofClients);
    console.log(`random moments: ${outcome.kills} kills, hashes equal`);
  },
  TIMEOUT_MS,
);
