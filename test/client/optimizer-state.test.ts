import { expect, test } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { createLog } from "../../base/log.ts";
import { createRng } from "../../base/rng.ts";
import { runNode } from "../../client/node.ts";
import { holdConnection } from "../../client/standing.ts";
import { createMemoryState } from "../../client/state.ts";
import { createToyTrainer, toyAdapter, toyExamples } from "../toy-trainer.ts";
import { createFakeFleet } from "./fake-fleet.ts";

test("the optimizer's state stays with the client, and rounds that say so go on from it", async () => {
  const fleet = createFakeFleet();
  const state = createMemoryState("c1");
  const ending = new AbortController();
  const rng = createRng(1);
  const done = runNode({
    fleet,
    open: (hello, events) => holdConnection(fleet, hello, events, { clock: systemClock, rng }),
    trainer: createToyTrainer({ steps: 3 }),
    device: "cpu",
    shard: { train: toyExamples("c1", 4), heldOut: [] },
    state,
    clock: systemClock,
    rng,
    log: createLog({ level: "silent", format: "pretty", write: () => {} }),
    signal: ending.signal,
  });
  for (const [i, keep] of [true, true, false].entries()) {
    const training = { keep_optimizer_state: keep } as never; // the rest by its defaults
    fleet.offer(fleet.trainTask(`t${i + 1}`, toyAdapter(), { round: i + 1 }, { training }));
    await fleet.until(() => fleet.submitted.length === i + 1);
  }
  ending.abort();
  await done;
  // The toy's state is the number of steps it ever took: 3 a round.
  const steps = (before: number) => state.local.before("optimizer", "run", before)?.get("steps")?.data[0];
  expect([steps(1), steps(2), steps(3), steps(4)]).toEqual([undefined, 3, 6, 6]);
  expect(fleet.submitted.map(({ extras }) => extras)).toEqual([{}, {}, {}]);
});
