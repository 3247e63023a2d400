import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { armFailpoints } from "../../base/failpoint.ts";
import { createMemoryStore } from "../../server/journal/memory.ts";
import { refuseNetworkDisk } from "../../server/journal/network-disk.ts";
import { openSqliteStore } from "../../server/journal/sqlite.ts";
import type { RunRow, Store, StoredEvent } from "../../server/journal/store.ts";
import { config, later, temporaryDirectory } from "./setting.ts";

const row = (id: string): RunRow => ({ id, key: `key-${id}`, config: config(), createdAtMs: 1_000 });
const event = (seq: number): StoredEvent => ({
  seq,
  atMs: 1_000 + seq,
  event: { type: "stopped", reason: `"ü" ${seq}` },
});

/** Stores that keep their content have a second opening; the others are asked in the same one. */
const STORES: readonly { readonly name: string; make(): { open(): Store; lasting: boolean } }[] = [
  {
    name: "memory",
    make: () => {
      const store = createMemoryStore();
      return { open: () => store, lasting: false };
    },
  },
  {
    name: "sqlite",
    make: () => {
      const directory = temporaryDirectory();
      return { open: () => openSqliteStore(directory), lasting: true };
    },
  },
];

describe.each(STORES)("store: $name", ({ make }) => {
  test("gives runs and events back as they were written, in order", async () => {
    const { open } = make();
    const store = open();
    await store.createRun(row("r2"));
    await store.createRun(row("r1"));
    await store.append("r1", 0, [event(1), event(2)]);
    await store.append("r1", 2, [event(3)]);
    await store.close();
    const again = open();
    later(() => again.close());
    expect(await again.runs()).toEqual([row("r2"), row("r1")]);
    expect(await again.read("r1")).toEqual([event(1), event(2), event(3)]);
    expect(await again.read("r1", 2)).toEqual([event(3)]);
    expect(await again.read("r2")).toEqual([]);
  });

  test("keeps who began a run together with it, or neither, beside what else was done", async () => {
    const { open } = make();
    const store = open();
    const entry = (what: string) => ({ atMs: 1_000, who: "anna", what });
    await store.trail.add(entry("made a token"));
    await store.createRun(row("r1"), [event(1)], entry("submitted run r1"));
    await expect(store.createRun(row("r1"), [], entry("submitted run r1 again"))).rejects.toThrow();
    await store.close();
    const again = open();
    later(() => again.close());
    expect(await again.trail.newest(10)).toEqual([entry("made a token"), entry("submitted run r1")]);
    expect(await again.trail.newest(1)).toEqual([entry("submitted run r1")]);
  });

  test("refuses events that do not follow the last one, and keeps none of them", async () => {
    const store = make().open();
    later(() => store.close());
    await store.createRun(row("r1"));
    await store.append("r1", 0, [event(1)]);
    await expect(store.append("r1", 0, [event(1)])).rejects.toMatchObject({ code: "F4001" });
    await expect(store.append("r1", 2, [event(3)])).rejects.toMatchObject({ code: "F4001" });
    expect(await store.read("r1")).toEqual([event(1)]);
  });

  test("knows no events of a run that there is not", async () => {
    const store = make().open();
    later(() => store.close());
    await expect(store.append("r9", 0, [event(1)])).rejects.toMatchObject({ code: "F4001" });
    await expect(store.read("r9")).rejects.toMatchObject({ code: "F4001" });
  });
});

async function written(): Promise<string> {
  const directory = temporaryDirectory();
  const store = openSqliteStore(directory);
  await store.createRun(row("r1"));
  await store.append("r1", 0, [event(1), event(2)]);
  await store.close();
  return directory;
}

function change(directory: string, sql: string): void {
  const db = new DatabaseSync(join(directory, "journal.sqlite"));
  db.exec(sql);
  db.close();
}

test.each([
  [
    "an event's text",
    `UPDATE events SET event = replace(event, 'stopped', 'finished') WHERE seq = 1`,
    "event 1",
  ],
  ["an event's time", "UPDATE events SET at_ms = at_ms + 1 WHERE seq = 2", "event 2"],
  ["a missing event", "DELETE FROM events WHERE seq = 1", 'event 1 of run "r1" is missing'],
  [
    "the run's configuration",
    `UPDATE runs SET config = replace(config, '"rounds":3', '"rounds":4')`,
    "event 1",
  ],
])("%s that changed on disk is found and named", async (_what, sql, named) => {
  const directory = await written();
  change(directory, sql);
  const store = openSqliteStore(directory);
  later(() => store.close());
  await expect(store.read("r1")).rejects.toMatchObject({
    code: "F4001",
    message: expect.stringContaining(named),
  });
});

test("a second coordinator on the same directory is refused", async () => {
  const directory = temporaryDirectory();
  const store = openSqliteStore(directory);
  expect(() => openSqliteStore(directory)).toThrow(expect.objectContaining({ code: "F4002" }));
  await store.close();
  await openSqliteStore(directory).close();
});

test("a journal of a newer fedloom is refused with the remedy", async () => {
  const directory = await written();
  change(directory, "PRAGMA user_version = 99");
  expect(() => openSqliteStore(directory)).toThrow(
    /schema has version 99, this fedloom knows \d+; upgrade fedloom/,
  );
});

test("a file that is no journal is refused", () => {
  const directory = temporaryDirectory();
  writeFileSync(
    join(directory, "journal.sqlite"),
    "not a database, and long enough to be looked at".repeat(20),
  );
  expect(() => openSqliteStore(directory)).toThrow(expect.objectContaining({ code: "F4001" }));
});

test("network file systems are refused by name with advice", () => {
  expect(() => refuseNetworkDisk("/data", () => 0x6969)).toThrow(/\(NFS\).*local disk/);
  // statfs gives SMB2's number as a negative one where it is read as signed.
  expect(() => refuseNetworkDisk("/data", () => 0xfe534d42 | 0)).toThrow(/\(SMB2\)/);
  expect(() => refuseNetworkDisk("/data", () => 0xef53)).not.toThrow();
});

test("a disk that refuses a commit loses none of the events before it", async () => {
  const directory = await written();
  const store = openSqliteStore(directory);
  later(() => armFailpoints(""));
  armFailpoints("server.event-appending=error:ENOSPC");
  await expect(store.append("r1", 2, [event(3)])).rejects.toMatchObject({
    code: "F4004",
    message: expect.stringContaining("ENOSPC"),
  });
  expect(await store.read("r1")).toEqual([event(1), event(2)]);
  await store.close();
});
