/** An asynchronous run of real processes: whatever is killed, the journal's order of arrival decides what comes out. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { openBlobFolder } from "../../server/blobs/folder.ts";
import { Coordinator } from "../../server/coordinator.ts";
import { openSqliteStore } from "../../server/journal/sqlite.ts";
import { verify } from "../../server/verify.ts";
import { TOY_BASE, toyAdapter } from "../toy-trainer.ts";
import { federation, finalHash } from "./federation.ts";

const ROUNDS = 6;
const BUFFER = 3;

test("coordinator and client are killed in an asynchronous run: no update is lost, every round verifies", async () => {
  const setting = await federation({
    run: {
      rounds: ROUNDS,
      cohort: { mode: "async", concurrency: 2, buffer: BUFFER, deadline: "30m", idle: "10m" },
      strategy: { name: "fedbuff" },
      codec: "int8",
      keep: { last: ROUNDS },
    },
  });
  const first = setting.coordinator();
  // Killed in the midst of a training: a moment later its end might be in the ledger and its result not yet durable.
  const c1 = setting.client("c1", { holdIn: 1 });
  setting.client("c2");
  setting.client("c3");
  await first.line(/^event update received 2/);
  await c1.line(/^holding/);
  await c1.kill();
  await first.line(/^event update received 3/);
  await first.kill();
  setting.client("c1");
  const second = setting.coordinator();
  const hash = await finalHash(second);
  second.process.kill("SIGINT");
  await second.exited;

  const state = join(setting.directory, "coordinator");
  const coordinator = await Coordinator.open({
    store: openSqliteStore(state),
    blobs: await openBlobFolder(join(state, "blobs")),
    clock: systemClock,
    log: silentLog,
    model: { createAdapter: async () => toyAdapter(TOY_BASE) },
  });
  try {
    const [engine] = coordinator.runs();
    expect(engine!.run.global!.model.sha256).toBe(hash);
    // All rounds again, from the journal and the blobs alone.
    const verified = await verify(engine!, undefined);
    expect(verified.map(({ round, equal }) => [round, equal])).toEqual(
      Array.from({ length: ROUNDS }, (_, i) => [i + 1, true]),
    );
    expect(verified.at(-1)!.recorded).toBe(hash);
    const events = (await engine!.parts.store.read(engine!.run.id)).map(({ event }) => event);
    const accepted = events.flatMap((event) => (event.type === "update received" ? [event.draw!] : []));
    expect(new Set(accepted).size).toBe(accepted.length);
    expect(engine!.rounds.map(({ ok }) => ok)).toEqual(Array.from({ length: ROUNDS }, () => BUFFER));
  } finally {
    await coordinator.close();
  }
  // The training that was cut off began anew; each that came to its end did so once.
  const begun = setting.trainings("begin");
  expect(begun.length).toBeGreaterThan(new Set(begun).size);
  const ended = setting.trainings();
  expect(new Set(ended).size).toBe(ended.length);
});
