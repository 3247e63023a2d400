import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { createRng } from "../../base/rng.ts";
import { createBackoff, FIRST_DELAY_MS, LONGEST_DELAY_MS } from "../../client/backoff.ts";
import { holdConnection, type Standing, type StandingEvents } from "../../client/standing.ts";
import {
  CancelTaskSchema,
  ConnectResponseSchema,
  HelloSchema,
  type TaskProgress,
  TaskProgressSchema,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { toyAdapter } from "../toy-trainer.ts";
import { createFakeFleet, type FakeFleet } from "./fake-fleet.ts";

interface Seen {
  readonly log: string[];
  readonly retries: number[];
  readonly standing: Standing;
  readonly clock: ManualClock;
  /** Resolves when the log has this many lines. */
  lines(count: number): Promise<void>;
}

function hold(fleet: FakeFleet): Seen {
  const log: string[] = [];
  const retries: number[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const say = (line: string): void => {
    log.push(line);
    for (const { count, resolve } of waiting) if (log.length >= count) resolve();
  };
  const events: StandingEvents = {
    onUp: () => say("up"),
    onTask: ({ taskId }) => say(`task ${taskId}`),
    onCancel: ({ taskId }) => say(`cancel ${taskId}`),
    onDown(reason, retryMs) {
      retries.push(retryMs);
      say(`down ${reason.code}`);
    },
    onEnd: (reason) => say(`end ${reason.code}`),
  };
  const clock = new ManualClock();
  const hello = create(HelloSchema, { clientId: "c1", heldTasks: ["t0"] });
  const standing = holdConnection(fleet, hello, events, { clock, rng: createRng(1) });
  const lines = (count: number): Promise<void> =>
    new Promise((resolve) => {
      waiting.push({ count, resolve });
      if (log.length >= count) resolve();
    });
  return { log, retries, standing, clock, lines };
}

const unreachable = new FedloomError("F5001", "No coordinator there");

test("connects, hears tasks and cancellations, and names the tasks it holds", async () => {
  const fleet = createFakeFleet();
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  const seen = hold(fleet);
  await seen.lines(2);
  const cancel = create(CancelTaskSchema, { taskId: "t1" });
  fleet.send(create(ConnectResponseSchema, { message: { case: "cancel", value: cancel } }));
  await seen.lines(3);
  expect(seen.log).toEqual(["up", "task t1", "cancel t1"]);
  expect(fleet.hellos[0]!.heldTasks).toEqual(["t0"]);
  await seen.standing.close();
});

test("comes back after a loss and then names what it holds by now", async () => {
  const fleet = createFakeFleet();
  const seen = hold(fleet);
  await seen.lines(1);
  seen.standing.hold(["t7"]);
  fleet.drop();
  await seen.lines(2);
  seen.clock.advance(seen.retries[0]!);
  await seen.lines(3);
  expect(seen.log).toEqual(["up", "down F5001", "up"]);
  expect(fleet.hellos.map(({ heldTasks }) => heldTasks)).toEqual([["t0"], ["t7"]]);
  await seen.standing.close();
});

test("waits longer after each failure, and briefly again after a success", async () => {
  const fleet = createFakeFleet();
  let failures = 5;
  fleet.before = (call) => {
    if (call === "connect" && failures-- > 0) throw unreachable;
  };
  const seen = hold(fleet);
  for (let attempt = 1; attempt <= 5; attempt++) {
    await seen.lines(attempt);
    seen.clock.advance(seen.retries.at(-1)!);
  }
  await seen.lines(6);
  fleet.drop();
  await seen.lines(7);
  // Upper half of 200, 400, 800, 1600, 3200 ms; after the success 200 ms again.
  const ceilings = [200, 400, 800, 1600, 3200, 200];
  seen.retries.forEach((delayMs, i) => {
    expect(delayMs).toBeGreaterThanOrEqual(ceilings[i]! / 2);
    expect(delayMs).toBeLessThanOrEqual(ceilings[i]!);
  });
  expect(seen.retries).toHaveLength(6);
  await seen.standing.close();
});

test.each([
  ["F5004", "a newer process took the name"],
  ["F5002", "another protocol version"],
  ["F5110", "a name that cannot be"],
] as const)("ends for good with %s: %s", async (code, _) => {
  const fleet = createFakeFleet();
  const seen = hold(fleet);
  await seen.lines(1);
  fleet.drop(new FedloomError(code, "Go away"));
  await seen.lines(2);
  seen.clock.advance(10 * LONGEST_DELAY_MS);
  expect(seen.log).toEqual(["up", `end ${code}`]);
  await seen.standing.close();
});

test("sends heartbeats at half the interval that was asked for, without pause", async () => {
  const fleet = createFakeFleet(); // asks for one each 1,000 ms
  const seen = hold(fleet);
  await fleet.until(() => fleet.heartbeats.length === 1);
  for (let beat = 2; beat <= 5; beat++) {
    seen.clock.advance(500);
    await fleet.until(() => fleet.heartbeats.length === beat);
  }
  expect(fleet.heartbeats).toEqual([0n, 1n, 2n, 3n, 4n]);
  await seen.standing.close();
});

test("keeps the newest progress of each task while the connection takes nothing", async () => {
  const fleet = createFakeFleet();
  const seen = hold(fleet);
  await seen.lines(1);
  const report = (taskId: string, done: bigint): TaskProgress =>
    create(TaskProgressSchema, { taskId, phase: "train", done });
  for (let done = 1n; done <= 1000n; done++) seen.standing.report(report("t1", done));
  seen.standing.report(report("t2", 1n));
  await fleet.until(() => fleet.progress.some(({ taskId }) => taskId === "t2"));
  // The reader takes one at a time; whatever was overtaken before it came to it is not sent.
  expect(fleet.progress.length).toBeLessThanOrEqual(3);
  expect(fleet.progress.findLast(({ taskId }) => taskId === "t1")!.done).toBe(1000n);
  await seen.standing.close();
});

test("the delays of many clients spread over the upper half of the interval", () => {
  const delays = Array.from({ length: 1000 }, (_, i) => createBackoff(createRng(i)).next());
  const buckets = Array.from({ length: 10 }, () => 0);
  const half = FIRST_DELAY_MS / 2;
  for (const delayMs of delays) buckets[Math.floor(((delayMs - half) / half) * 10)]!++;
  // Binomial with n = 1000, p = 0.1: six standard deviations are 57.
  for (const count of buckets) expect(Math.abs(count - 100)).toBeLessThan(57);
});
