import { expect, test } from "vitest";
import { CONFIG_FILE, encodeAdapter, MODEL_FILE } from "../../adapters/peft.ts";
import { ManualClock } from "../../base/clock.ts";
import type { Coordinator } from "../../server/coordinator.ts";
import type { RunEngine } from "../../server/engine.ts";
import { adapterFiles } from "../../server/http/adapter-files.ts";
import type { ModelPort } from "../../server/ports.ts";
import { hashesOf, UNHURRIED } from "../../server/sweep.ts";
import { verify } from "../../server/verify.ts";
import { readAdapter } from "../../server/work/aggregate.ts";
import { FakeClient } from "./fake-client.ts";
import { config, coordinatorIn, finished, later, model } from "./setting.ts";

async function finishedRun(
  over: Record<string, unknown> = {},
  clock = new ManualClock(),
  port: ModelPort = model,
) {
  const coordinator = await coordinatorIn(undefined, { clock, model: port });
  later(() => coordinator.close());
  join(coordinator);
  const engine = await coordinator.submitRun({
    config: config({ rounds: 4, strategy: { name: "fedyogi" }, keep: { last: 2, every: 2 }, ...over }),
  });
  await finished(engine);
  expect(engine.run.stopped).toBeUndefined();
  return { coordinator, engine, clock };
}

function join(coordinator: Coordinator): void {
  for (const [k, id] of ["c1", "c2", "c3"].entries()) {
    const client = new FakeClient(coordinator.fleet({ address: "in process" }), id, { adds: k + 1 });
    client.ended.catch(() => undefined);
    later(() => client.close());
  }
}

test("kept are the beginning, the last rounds with their updates, and every Nth", async () => {
  const { engine } = await finishedRun();
  expect(engine.run.kept.map(({ round, updates }) => [round, updates !== undefined])).toEqual([
    [0, false],
    [2, false],
    [3, true],
    [4, true],
  ]);
});

test.each([
  ["accuracy", [0.5, 0.9, 0.7, 0.9, 0.6], 2],
  ["loss", [0.5, 0.9, 0.4, 0.7, 0.4], 3],
])("kept is the round with the best %s too, of equal ones the first", async (metric, values, best) => {
  const scores = values.values();
  const evaluate = async () => ({ [metric]: scores.next().value!, other: 1 });
  const { engine } = await finishedRun(
    { rounds: 5, keep: { last: 1, best: metric }, evaluation: { data: "held-out", metrics: [metric] } },
    new ManualClock(),
    { ...model, evaluate },
  );
  expect(engine.run.kept.map(({ round }) => round)).toEqual([0, best, 5]);
  const wanted = engine.run.kept[1]!.global;
  const { config: files, model: tensors } = encodeAdapter(
    await readAdapter(engine.parts.blobs, wanted, "the best round"),
  );
  expect(Buffer.from(await adapterFiles(engine, "best", MODEL_FILE)).equals(tensors)).toBe(true);
  expect(Buffer.from(await adapterFiles(engine, "best", CONFIG_FILE)).equals(files)).toBe(true);
});

test("without keep.best there is no best round, and a metric that nobody computes is refused", async () => {
  const { engine } = await finishedRun();
  await expect(adapterFiles(engine, "best", MODEL_FILE)).rejects.toMatchObject({
    code: "F4021",
    message: expect.stringContaining("the best round (keep.best is not set)"),
  });
  expect(() => config({ keep: { best: "auc" } })).toThrow('must be one of evaluation.metrics, got \\"auc\\"');
});

test("a past round aggregated again from its blobs gives the recorded hash", async () => {
  const { engine } = await finishedRun();
  const results = await verify(engine, undefined);
  expect(results.map(({ round, equal }) => ({ round, equal }))).toEqual([
    { round: 3, equal: true },
    { round: 4, equal: true },
  ]);
  expect(results[1]!.again).toBe(engine.run.global!.model.sha256);
  await expect(verify(engine, 1)).rejects.toMatchObject({
    code: "F4021",
    message: expect.stringContaining("updates are kept of rounds 3, 4"),
  });
});

test("a recorded adapter that its updates do not make is found", async () => {
  const { engine } = await finishedRun();
  const { kept } = engine.run;
  const forged = kept.map((entry) => (entry.round === 4 ? { ...entry, global: kept[0]!.global } : entry));
  engine.run = { ...engine.run, kept: forged };
  expect(await verify(engine, 4)).toMatchObject([
    { round: 4, equal: false, recorded: kept[0]!.global.model.sha256 },
  ]);
});

test("a run forked at a round with the same configuration comes to the same end", async () => {
  const { coordinator, engine } = await finishedRun();
  const fork = await coordinator.fork(engine.run.id, 2, { config: engine.run.config });
  await finished(fork);
  expect(fork.rounds.map(({ round }) => round)).toEqual([3, 4]);
  expect(fork.run.global!.model.sha256).toBe(engine.run.global!.model.sha256);
  expect(fork.run.id).not.toBe(engine.run.id);
});

test("a fork needs a round that is kept, and rounds that are left", async () => {
  const { coordinator, engine } = await finishedRun();
  const { id, config: same } = engine.run;
  await expect(coordinator.fork(id, 1, { config: same })).rejects.toMatchObject({ code: "F4021" });
  await expect(coordinator.fork(id, 4, { config: same })).rejects.toMatchObject({ code: "F4007" });
  await expect(coordinator.fork("nobody", 4, { config: same })).rejects.toMatchObject({ code: "F4006" });
});

test("blobs that no run refers to are deleted after a while, and no others", async () => {
  const { coordinator, engine, clock } = await finishedRun({ rounds: 6 });
  const { blobs } = coordinator.parts;
  const before = await blobs.list();
  const live = new Set(hashesOf(engine.run));
  expect(before.length).toBeGreaterThan(live.size);
  // Another run's rounds are what sets sweeps off: the first one notes, a later one deletes.
  const others: RunEngine[] = [];
  for (const waitMs of [UNHURRIED.everyMs, UNHURRIED.suspectMs]) {
    clock.advance(waitMs);
    join(coordinator); // so long a silence ended the connections
    const other = await coordinator.submitRun({ config: config({ name: "other", rounds: 1 }) });
    await finished(other);
    await new Promise(setImmediate);
    others.push(other);
  }
  const expected = new Set([...live, ...others.flatMap(({ run }) => [...hashesOf(run)])]);
  const after = new Set(await blobs.list());
  expect([...expected].filter((hash) => !after.has(hash))).toEqual([]);
  expect(before.filter((hash) => after.has(hash) && !expected.has(hash))).toEqual([]);
  expect((await verify(engine, undefined)).every(({ equal }) => equal)).toBe(true);
});
