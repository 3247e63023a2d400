import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { MessageQueue } from "../../proto/streams.ts";
import { FakeClient, type FakeOptions } from "./fake-client.ts";
import { config, coordinatorIn, finished, later, until } from "./setting.ts";

/** A coordinator whose clock stands still until the test moves it, and clients in the same process. */
async function standing(cohort: Record<string, unknown>) {
  const clock = new ManualClock();
  const coordinator = await coordinatorIn(undefined, { clock });
  later(() => coordinator.close());
  const engine = await coordinator.submitRun({ config: config({ rounds: 1, cohort }) });
  const join = (id: string, options: FakeOptions = {}): FakeClient => {
    const client = new FakeClient(coordinator.fleet({ address: "in process" }), id, options);
    client.ended.catch(() => undefined);
    later(() => client.close());
    return client;
  };
  return { clock, coordinator, engine, join };
}

/** Has its task and does nothing with it. */
function idle(): FakeOptions & { readonly started: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    started: promise,
    onTask: async () => {
      resolve();
      return true;
    },
  };
}

test("a client that stands still fails by name after the idle timeout, and heartbeats do not help it", async () => {
  const { clock, engine, join } = await standing({ perRound: 2, quorum: 1, idle: "60s", deadline: "1h" });
  const lazy = idle();
  const still = join("still", lazy);
  join("busy");
  await lazy.started;
  await until(engine, (run) => run.round?.members.get("busy")?.status === "received");
  for (let second = 0; second < 60; second += 5) {
    still.say({ case: "heartbeat", value: { sequence: BigInt(second) } });
    await new Promise(setImmediate);
    clock.advance(5_000);
  }
  await finished(engine);
  expect(engine.rounds[0]!.failures).toEqual([
    { client: "still", phase: "offer", code: "F4009", message: "no progress for 60 s (cohort.idle)" },
  ]);
});

test("a task that moves never times out before the deadline, which names the client too", async () => {
  const { clock, engine, join } = await standing({ perRound: 2, quorum: 1, idle: "60s", deadline: "10m" });
  const lazy = idle();
  const slow = join("slow", lazy);
  join("busy");
  await lazy.started;
  await until(engine, (run) => run.round?.members.get("busy")?.status === "received");
  const { taskId } = slow.tasks[0]!;
  for (let second = 0; second < 600; second += 10) {
    expect(engine.run.round?.members.get("slow")?.status).toBe("waiting");
    slow.say({ case: "progress", value: { taskId, phase: "train", done: BigInt(second), total: 9_999n } });
    await new Promise(setImmediate);
    clock.advance(10_000);
  }
  await finished(engine);
  expect(engine.rounds[0]!.failures).toMatchObject([
    {
      client: "slow",
      phase: "deadline",
      code: "F4010",
      message: "no result within the round's deadline of 600 s",
    },
  ]);
  expect(slow.cancelled).toEqual([taskId]);
});

test("a connection that says nothing is given up after three heartbeats", async () => {
  const { clock, coordinator, join } = await standing({ perRound: 1 });
  const client = join("c1", idle());
  await client.welcome;
  clock.advance(29_999);
  expect(coordinator.parts.presence.session("c1")).toBeDefined();
  clock.advance(1);
  await expect(client.ended).rejects.toMatchObject({
    code: "F5001",
    message: "Cannot keep the connection of in process: it was silent for 30 s",
  });
  expect(coordinator.parts.presence.session("c1")).toBeUndefined();
});

test("a connection without Hello is given up", async () => {
  const { clock, coordinator } = await standing({ perRound: 1 });
  const fleet = coordinator.fleet({ address: "10.0.0.7:5000" });
  const read = async () => {
    for await (const _ of fleet.connect(new MessageQueue(), new AbortController().signal));
  };
  const ended = expect(read()).rejects.toThrow(
    "Cannot keep the connection of 10.0.0.7:5000: it did not say Hello within 10 s",
  );
  clock.advance(10_000);
  await ended;
});

test("a client that comes back within the idle timeout goes on with its task", async () => {
  const { clock, engine, join } = await standing({ perRound: 1, idle: "60s" });
  const lazy = idle();
  const first = join("c1", lazy);
  await lazy.started;
  first.close();
  await first.ended;
  clock.advance(50_000);
  const again = join("c1");
  await finished(engine);
  expect(again.tasks.map(({ taskId }) => taskId)).toEqual(first.tasks.map(({ taskId }) => taskId));
  expect(engine.rounds[0]).toMatchObject({ ok: 1, failed: 0 });
});

test("a client that does not come back fails as absent", async () => {
  const { clock, engine, join } = await standing({ perRound: 2, quorum: 1, idle: "60s" });
  const lazy = idle();
  const gone = join("gone", lazy);
  join("here");
  await lazy.started;
  gone.close();
  await gone.ended;
  await until(engine, (run) => run.round?.members.get("here")?.status === "received");
  clock.advance(60_000);
  await finished(engine);
  expect(engine.rounds[0]!.failures).toMatchObject([
    { client: "gone", code: "F4009", message: "not connected and no progress for 60 s (cohort.idle)" },
  ]);
});

test("clients chosen beyond what is wanted are told to stop when the round has enough", async () => {
  const { engine, join } = await standing({ perRound: 1, overSelect: 1, minClients: 2 });
  const lazy = idle();
  const spare = join("spare", lazy);
  join("quick", { onTask: () => lazy.started.then(() => false) });
  await finished(engine);
  expect(engine.rounds[0]).toMatchObject({ ok: 1, failed: 0, leftOut: 1 });
  await until(engine, () => spare.cancelled.length === 1);
  expect(spare.cancelled).toEqual([`${engine.run.id}/1/train/spare`]);
});

test("a stopped run calls its clients off, and a resumed one offers the same task again", async () => {
  const { coordinator, engine, join } = await standing({ perRound: 1 });
  const started = Promise.withResolvers<void>();
  let refuses = true;
  const client = join("c1", {
    onTask: async () => {
      started.resolve();
      return refuses;
    },
  });
  await started.promise;
  await coordinator.stop(engine.run.id, { now: true });
  expect(engine.run.stopped).toEqual({ reason: "stopped, as asked" });
  refuses = false;
  await coordinator.resume(engine.run.id);
  await finished(engine);
  expect(engine.run.phase).toBe("finished");
  const { taskId } = client.tasks[0]!;
  expect(client.cancelled).toEqual([taskId]);
  expect(client.tasks.map((task) => task.taskId)).toEqual([taskId, taskId]);
});

test("a client of two runs works on one task after the other", async () => {
  const { coordinator, engine, join } = await standing({ perRound: 1 });
  const second = await coordinator.submitRun({
    config: config({ name: "second", rounds: 2, cohort: { perRound: 1 } }),
  });
  let atWork = 0;
  const client = join("c1", {
    onTask: async () => {
      expect(++atWork).toBe(1);
      await new Promise(setImmediate);
      atWork--;
      return false;
    },
  });
  await Promise.all([finished(engine), finished(second)]);
  expect(client.tasks).toHaveLength(3);
  expect([engine.run.phase, second.run.phase]).toEqual(["finished", "finished"]);
});

test("only clients that hold the run's base model, have examples and are invited are drawn", async () => {
  const clock = new ManualClock();
  const coordinator = await coordinatorIn(undefined, { clock });
  later(() => coordinator.close());
  const engine = await coordinator.submitRun({
    config: config({ rounds: 1, cohort: { perRound: 1 }, clients: ["invited", "other-model", "empty"] }),
  });
  const join = (id: string, options: FakeOptions): FakeClient => {
    const client = new FakeClient(coordinator.fleet({ address: "in process" }), id, options);
    client.ended.catch(() => undefined);
    later(() => client.close());
    return client;
  };
  await join("other-model", { baseModel: "f".repeat(64) }).welcome;
  await join("empty", { examples: 0 }).welcome;
  await join("stranger", {}).welcome;
  await until(engine, (run) => run.phase === "choosing");
  join("invited", { baseModel: engine.run.base });
  await finished(engine);
  expect(engine.rounds[0]!.clients.map(({ client }) => client)).toEqual(["invited"]);
});
