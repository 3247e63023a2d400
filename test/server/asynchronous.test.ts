/** Asynchronous runs through the coordinator: which numbers come out, what is refused, what a crash changes. */
import { expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { type Aggregator, openAggregator } from "../../aggregators/aggregator.ts";
import type { Coordinator } from "../../server/coordinator.ts";
import type { RunEngine } from "../../server/engine.ts";
import type { StoredEvent } from "../../server/journal/store.ts";
import type { ModelPort } from "../../server/ports.ts";
import { statusOf } from "../../server/status.ts";
import { verify } from "../../server/verify.ts";
import { FakeClient, type FakeOptions } from "./fake-client.ts";
import {
  config,
  coordinatorIn,
  finished,
  firstAdapter,
  later,
  meanOf,
  temporaryDirectory,
  until,
} from "./setting.ts";

const ASYNC = { mode: "async", concurrency: 2, buffer: 2 } as const;

function join(coordinator: Coordinator, id: string, options: FakeOptions): FakeClient {
  const client = new FakeClient(coordinator.fleet({ address: "in process" }), id, options);
  client.ended.catch(() => undefined);
  later(() => client.close());
  return client;
}

function settings(over: Record<string, unknown> = {}) {
  return config({
    rounds: 2,
    cohort: ASYNC,
    strategy: { name: "fedbuff" },
    evaluation: { data: "held-out" },
    ...over,
  });
}

test("each update counts by (1 + its staleness)^-1/2 over K, from what its client was handed", async () => {
  const coordinator = await coordinatorIn(undefined);
  later(() => coordinator.close());
  const slow = Promise.withResolvers<void>();
  const again = Promise.withResolvers<void>();
  let turns = 0;
  join(coordinator, "fast", {
    adds: 1,
    onTask: async () => {
      if (++turns === 3) await again.promise;
      return false;
    },
  });
  join(coordinator, "slow", { adds: 4, onTask: () => slow.promise.then(() => false) });
  const engine = await coordinator.submitRun({ config: settings() });
  await until(engine, (run) => run.number === 2 && run.phase === "collecting");
  // Two updates of the fast client fill the first buffer: 0 + (1 + 1) / 2.
  expect(meanOf(firstAdapter()) + 1).toBeCloseTo(engine.rounds[0]!.metrics.mean!, 6);
  expect(engine.rounds[0]!.clients.map(({ client, staleness }) => [client, staleness])).toEqual([
    ["fast", 0],
    ["fast", 0],
  ]);
  slow.resolve();
  await until(engine, (run) => run.round!.members.size === 3);
  again.resolve();
  await finished(engine);
  // Both began before the first step was done, so both are one round stale: 1 + (4 + 1) / (2 √2) = 2.76777.
  expect(engine.rounds[1]!.clients.map(({ client, staleness }) => [client, staleness])).toEqual([
    ["slow", 1],
    ["fast", 1],
  ]);
  expect(engine.rounds[1]!.metrics.mean! - meanOf(firstAdapter())).toBeCloseTo(2.76777, 4);
  expect(engine.rounds[1]!.report).toMatchObject({ meanStaleness: 1, updates: 2 });
  expect((await verify(engine, undefined)).map(({ round, equal }) => [round, equal])).toEqual([
    [1, true],
    [2, true],
  ]);
  // What each client did is told apart, and a client is shown once.
  expect(Object.keys(engine.rounds[0]!.report).filter((key) => key.startsWith("norm."))).toHaveLength(2);
  const { members } = statusOf(coordinator, engine);
  expect(new Set(members.map(({ client }) => client)).size).toBe(members.length);
});

test("an update that is too stale is answered as late, and its client is drawn again", async () => {
  const coordinator = await coordinatorIn(undefined);
  later(() => coordinator.close());
  const slow = Promise.withResolvers<void>();
  let held = 0;
  join(coordinator, "fast", { adds: 1 });
  const late = join(coordinator, "slow", {
    adds: 4,
    onTask: () => (held++ === 0 ? slow.promise.then(() => false) : Promise.resolve(false)),
  });
  const engine = await coordinator.submitRun({
    config: settings({ rounds: 8, cohort: { ...ASYNC, maxStaleness: 1 } }),
  });
  await until(engine, (run) => run.number >= 4);
  slow.resolve();
  await finished(engine);
  expect(engine.run.phase).toBe("finished");
  expect(late.verdicts[0]!.verdict).toBe(3); // LATE
  expect(engine.rounds.reduce((sum, { leftOut }) => sum + leftOut, 0)).toBeGreaterThanOrEqual(1);
  const staleness = engine.rounds.flatMap(({ clients }) => clients.map((client) => client.staleness!));
  expect(staleness).toHaveLength(16);
  expect(Math.max(...staleness)).toBeLessThanOrEqual(1);
});

test.each(["fedavg", "scaffold", "fedadam", "krum"])(
  "a strategy that takes no stale updates is refused: %s",
  async (name) => {
    const coordinator = await coordinatorIn(undefined);
    later(() => coordinator.close());
    await expect(
      coordinator.submitRun({
        config: settings({ cohort: { ...ASYNC, buffer: 10 }, strategy: { name } }),
      }),
    ).rejects.toMatchObject({
      code: "F3112",
      message: `Cannot run strategy "${name}": it takes only updates of the current round`,
    });
  },
);

test("a configuration of rounds is what it was, and one that mixes both is refused", () => {
  expect(Object.keys(config().cohort).sort()).toEqual([
    "deadline",
    "idle",
    "overSelect",
    "perRound",
    "sampling",
  ]);
  expect(settings().cohort).toEqual({
    ...ASYNC,
    deadline: "30m",
    idle: "60s",
    sampling: "seeded",
  });
  expect(() => settings({ cohort: { ...ASYNC, perRound: 2 } })).toThrow();
  expect(() => settings({ cohort: { ...ASYNC, sampling: "published" } })).toThrow();
  expect(() => settings({ evaluation: { onClients: true } })).toThrow(/they go on training/);
});

test("a run in which every client fails stops with the reason", async () => {
  const coordinator = await coordinatorIn(undefined);
  later(() => coordinator.close());
  for (const id of ["c1", "c2"]) {
    join(coordinator, id, { bend: (adapter) => ({ ...adapter, tensors: new Map() }) });
  }
  const engine = await coordinator.submitRun({ config: settings() });
  await finished(engine);
  expect(engine.run.stopped).toMatchObject({ code: "F4008" });
  expect(engine.run.stopped!.reason).toMatch(
    /Cannot close round 1: 2 updates are wanted, got 0; client "c\d" failed in submit/,
  );
});

test("threads aggregate older starts to the same bits", async () => {
  const module = (layer: number) => `base_model.model.layers.${layer}.q_proj`;
  const wide: Adapter = {
    config: { ...firstAdapter().config, rank: 8 },
    tensors: tensorSet(
      [0, 1].flatMap((layer) => [
        [
          `${module(layer)}.lora_A.weight`,
          float32([8, 8192], new Float32Array(8 * 8192).fill(layer)),
        ] as const,
        [`${module(layer)}.lora_B.weight`, float32([8192, 8], new Float32Array(8 * 8192).fill(-1))] as const,
      ]),
    ),
  };
  const aggregator = openAggregator({ threads: 2 });
  later(() => aggregator.close());
  const stale: number[] = [];
  const watched: Aggregator = {
    ...aggregator,
    aggregate(input) {
      stale.push(input.updates.filter(({ base }) => base !== undefined).length);
      return aggregator.aggregate(input);
    },
  };
  const model: ModelPort = { createAdapter: async () => wide };
  const coordinator = await coordinatorIn(temporaryDirectory(), { model, aggregator: watched });
  later(() => coordinator.close());
  for (const [id, adds] of Object.entries(ADDS)) join(coordinator, id, { adds });
  const engine = await coordinator.submitRun({ config: settings({ evaluation: undefined, rounds: 3 }) });
  await finished(engine);
  expect(engine.run).toMatchObject({ phase: "finished", stopped: undefined });
  expect(stale).toHaveLength(3);
  expect(Math.max(...stale)).toBeGreaterThan(0);
  // Verifying aggregates in this thread.
  expect((await verify(engine, undefined)).map(({ equal }) => equal)).toEqual([true, true, true]);
});

/** Σ over the journal of adds · (1 + staleness)^-1/2 / K: what its arrival order must make of the first adapter. */
function shiftOf(
  events: readonly StoredEvent[],
  adds: Readonly<Record<string, number>>,
  rounds: number,
): number {
  const started = new Map<number, number>();
  let shift = 0;
  const arrived: { readonly client: string; readonly version: number }[] = [];
  for (const { event } of events) {
    if (event.type === "clients drawn")
      for (const i of event.clients.keys()) started.set(event.first + i, event.version);
    if (event.type === "update received")
      arrived.push({ client: event.client, version: started.get(event.draw!)! });
  }
  // Whatever the buffers were called: the first K are round 1, the next K round 2.
  for (const [i, { client, version }] of arrived.slice(0, rounds * ASYNC.buffer).entries()) {
    const staleness = Math.floor(i / ASYNC.buffer) - version;
    shift += (adds[client]! * (1 + staleness) ** -0.5) / ASYNC.buffer;
  }
  return shift;
}

const ADDS = { c1: 1, c2: 2, c3: 3 } as const;

/** Runs to the end; the coordinator is thrown away when event `crashAt` is on disk, and another one takes over. */
async function runWith(
  crashAt: number,
): Promise<{ engine: RunEngine; trained: string[]; received: string[] }> {
  const directory = temporaryDirectory();
  const trained: string[] = [];
  const received: string[] = [];
  const clientsOf = (coordinator: Coordinator): FakeClient[] =>
    Object.entries(ADDS).map(([id, adds]) =>
      join(coordinator, id, {
        adds,
        onTask: async (_, { taskId }) => {
          trained.push(taskId);
          return false;
        },
      }),
    );
  let coordinator = await coordinatorIn(directory);
  let clients = clientsOf(coordinator);
  let engine = await coordinator.submitRun({ config: settings({ rounds: 4 }) });
  const { id } = engine.run;
  const crashed = new Promise<void>((resolve) => {
    engine.onEvent(({ seq, event }) => {
      if (event.type === "update received" && seq <= crashAt)
        received.push(`${id}/${event.draw}/train/${event.client}`);
      if (seq === crashAt) resolve();
    });
  });
  await Promise.race([crashed, finished(engine)]);
  if (engine.seq >= crashAt) {
    await coordinator.close();
    for (const client of clients) client.close();
    coordinator = await coordinatorIn(directory);
    clients = clientsOf(coordinator);
    engine = coordinator.engine(id);
  }
  later(() => coordinator.close());
  await finished(engine);
  return { engine, trained, received };
}

test("thrown away after any event and started again, a run ends with what the journaled order of arrival makes", async () => {
  for (let at = 1; at <= 34; at += 3) {
    const { engine, trained, received } = await runWith(at);
    expect(engine.run).toMatchObject({ phase: "finished", stopped: undefined });
    const events = await engine.parts.store.read(engine.run.id);
    const shift = engine.rounds.at(-1)!.metrics.mean! - meanOf(firstAdapter());
    expect(shift, `crashed after event ${at}`).toBeCloseTo(shiftOf(events, ADDS, 4), 4);
    for (const task of received)
      expect(
        trained.filter((id) => id === task),
        `${task}, crashed after ${at}`,
      ).toHaveLength(1);
    for (const { equal } of await verify(engine, undefined)) expect(equal).toBe(true);
  }
});
