/** Asynchronous runs of a fleet: the order of arrival is drawn from the seed, so that they repeat. */
import { expect, test } from "vitest";
import { runConfig } from "../../../config/run.ts";
import { clientName } from "../../../scenarios/fleet/shards.ts";
import { WRAPPER_SETTINGS } from "../../aggregators/any-strategy.ts";
import { RUN } from "../../e2e/federation.ts";
import { runToEnd, toyClients } from "./toy-fleet.ts";

const COHORT = { mode: "async", concurrency: 4, buffer: 3 } as const;
const NAMES = Array.from({ length: 6 }, (_, i) => clientName(i, 6));
const ASYNC = { cohort: COHORT, strategy: { name: "fedbuff" }, rounds: 5 } as const;

test.each(["fp32", "int8", "topk"])(
  "gives the same adapter each time, with codec %s, from older adapters",
  async (codec) => {
    const runs = [];
    for (const seed of [1, 1, 2]) runs.push(await runToEnd({ ...ASYNC, seed, codec }, toyClients(...NAMES)));
    const hashes = runs.map(({ run }) => run.global!.model.sha256);
    expect(hashes[1]).toBe(hashes[0]);
    expect(hashes[2]).not.toBe(hashes[0]);
    const [first] = runs;
    expect(first!.run.phase).toBe("finished");
    expect(first!.rounds.map(({ ok }) => ok)).toEqual([3, 3, 3, 3, 3]);
    const staleness = first!.rounds.flatMap(({ clients }) => clients.map((client) => client.staleness!));
    expect(Math.max(...staleness)).toBeGreaterThan(0);
  },
);

const bare = runToEnd(ASYNC, toyClients(...NAMES));
const wrapped = Object.values(WRAPPER_SETTINGS)
  .flat()
  // The toy's examples have no image, so that what images reach alone stays.
  .map((wrapper) => (wrapper.name === "ownership" ? { ...wrapper, image: "v_proj" } : wrapper))
  .map((wrapper) => ({ wrapper, set: JSON.stringify(wrapper) }));

test.each(wrapped)(
  "$set around fedbuff takes stale updates, or is refused before round 1",
  async ({ wrapper }) => {
    const run = () => runToEnd({ ...ASYNC, wrappers: [wrapper] }, toyClients(...NAMES));
    if (wrapper.noiseMultiplier !== undefined) {
      await expect(run()).rejects.toMatchObject({
        code: "F3112",
        message: expect.stringContaining("Cannot add noise around this strategy: it reads single updates"),
      });
      return;
    }
    const ended = await run();
    expect(ended.run.phase).toBe("finished");
    expect(ended.rounds.map(({ ok, failed }) => [ok, failed])).toEqual(ended.rounds.map(() => [3, 0]));
    const staleness = ended.rounds.flatMap(({ clients }) => clients.map((client) => client.staleness!));
    expect(Math.max(...staleness)).toBeGreaterThan(0);
    // What only the trainer acts on, the toy trainer leaves alone.
    const isTold = wrapper.name.includes("proximal");
    expect(ended.run.global!.model.sha256 === (await bare).run.global!.model.sha256).toBe(isTold);
  },
);

test("more places than clients are filled as far as there are clients", async () => {
  const cohort = { ...COHORT, concurrency: 9, buffer: 4 };
  const { run } = await runToEnd({ ...ASYNC, cohort, rounds: 2 }, toyClients("c1", "c2"));
  expect(run.phase).toBe("finished");
});

test("what a fleet means by rounds is refused by name", () => {
  const parse = (fleet: object) => () =>
    runConfig.parse({ ...RUN, ...ASYNC, fleet: { clients: 6, data: "d", ...fleet } });
  expect(parse({ availability: { away: 0.5 } })).toThrow(/cohort.mode async has none/);
  expect(parse({ stragglers: { share: 0.5, slowness: 3, patience: 2 } })).toThrow(
    /cohort.mode async has none/,
  );
  expect(parse({ devices: [{ name: "phone", share: 1, slowness: 3 }] })).not.toThrow();
});
