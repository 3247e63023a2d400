import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import type { Coordinator } from "../../server/coordinator.ts";
import { statusOf } from "../../server/status.ts";
import { FakeClient } from "./fake-client.ts";
import { config, coordinatorIn, finished, later, temporaryDirectory, until } from "./setting.ts";

const SETTINGS = config({
  rounds: 2,
  cohort: { perRound: 2, minClients: 3 },
  strategy: { name: "fedadam" },
  evaluation: { data: "held-out" },
  codec: "fp16",
});

/** Three clients of a coordinator; `trained` counts what they worked on, by task. */
function clientsOf(coordinator: Coordinator, trained: Map<string, number>): FakeClient[] {
  return ["c1", "c2", "c3"].map((id, k) => {
    const client = new FakeClient(coordinator.fleet({ address: "in process" }), id, {
      adds: k + 1,
      examples: 10 * (k + 1),
      onTask: async (_client, task) => {
        trained.set(task.taskId, (trained.get(task.taskId) ?? 0) + 1);
        return false;
      },
    });
    client.ended.catch(() => undefined);
    return client;
  });
}

/** Runs to the end; the coordinator is thrown away when event `crashAt` is on disk, and another one takes over. */
async function runWith(
  crashAt: number,
): Promise<{ adapter: string; events: number; received: string[]; trained: Map<string, number> }> {
  const directory = temporaryDirectory();
  const trained = new Map<string, number>();
  const received: string[] = [];
  let coordinator = await coordinatorIn(directory);
  let clients = clientsOf(coordinator, trained);
  let engine = await coordinator.submitRun({ config: SETTINGS });
  const crashed = new Promise<void>((resolve) => {
    engine.onEvent(({ seq, event }) => {
      if (event.type === "update received" && seq <= crashAt)
        received.push(`${event.round}/train/${event.client}`);
      if (seq === crashAt) resolve();
    });
  });
  await Promise.race([crashed, finished(engine)]);
  if (engine.seq >= crashAt) {
    const { id } = engine.run;
    await coordinator.close();
    for (const client of clients) client.close();
    coordinator = await coordinatorIn(directory);
    clients = clientsOf(coordinator, trained);
    engine = coordinator.engine(id);
  }
  later(async () => {
    for (const client of clients) client.close();
    await coordinator.close();
  });
  await finished(engine);
  expect(engine.run.stopped).toBeUndefined();
  return { adapter: engine.run.global!.model.sha256, events: engine.seq, received, trained };
}

test("thrown away after any event and started again, a run ends with the same adapter and repeats no finished work", async () => {
  const whole = await runWith(Number.POSITIVE_INFINITY);
  // prepared, population, and per round: opened, 2 updates, closed, aggregated, evaluated, published; finished.
  expect(whole.events).toBe(2 + 2 * 7 + 1);
  for (let at = 1; at <= whole.events; at++) {
    const { adapter, received, trained } = await runWith(at);
    expect(adapter, `crashed after event ${at}`).toBe(whole.adapter);
    for (const task of received) {
      const times = [...trained].find(([id]) => id.endsWith(task))?.[1];
      expect(times, `${task}, crashed after event ${at}`).toBe(1);
    }
  }
});

test("two runs of one seed draw the same clients and end with the same adapter", async () => {
  const one = await runWith(Number.POSITIVE_INFINITY);
  const two = await runWith(Number.POSITIVE_INFINITY);
  expect(two.adapter).toBe(one.adapter);
  expect([...two.trained.keys()].map((id) => id.slice(8)).sort()).toEqual(
    [...one.trained.keys()].map((id) => id.slice(8)).sort(),
  );
});

test("a run whose journal is damaged is set aside by name, and the others go on", async () => {
  const directory = temporaryDirectory();
  const first = await coordinatorIn(directory);
  const bad = await first.submitRun({ config: config({ name: "bad", rounds: 1 }) });
  const good = await first.submitRun({
    config: config({ name: "good", rounds: 1, cohort: { perRound: 1 } }),
  });
  await until(bad, (run) => run.phase === "choosing");
  await first.close();
  const db = new DatabaseSync(join(directory, "journal.sqlite"));
  db.exec(`UPDATE events SET event = replace(event, 'prepared', 'Prepared') WHERE run = '${bad.run.id}'`);
  db.close();

  const second = await coordinatorIn(directory);
  later(() => second.close());
  const damaged = second.engine(bad.run.id);
  expect(statusOf(second, damaged)).toMatchObject({
    status: "stopped",
    code: "F4001",
    reason: expect.stringContaining(`event 1 of run "${bad.run.id}" is not what was written`),
  });
  await expect(second.resume(bad.run.id)).rejects.toMatchObject({ code: "F4001" });
  const client = new FakeClient(second.fleet({ address: "in process" }), "c1");
  later(() => client.close());
  client.ended.catch(() => undefined);
  const going = second.engine(good.run.id);
  await finished(going);
  expect(going.run.phase).toBe("finished");
});
