import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { createLog } from "../../base/log.ts";
import { InventorySchema } from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { openSqliteStore } from "../../server/journal/sqlite.ts";
import { Presence, type Session } from "../../server/presence.ts";
import { keepSightings, type Seen, type Sightings } from "../../server/sightings.ts";
import { clientsOf } from "../../server/status.ts";
import { FakeClient } from "./fake-client.ts";
import { coordinatorIn, later, temporaryDirectory } from "./setting.ts";

const START_MS = Date.UTC(2026, 10, 30);
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;

/** What is written of a presence whose clients come and go as a test says. */
async function watched(before: Seen = new Map()) {
  const clock = new ManualClock(START_MS);
  const presence = new Presence(clock);
  const writes: Record<string, number>[] = [];
  const lines: string[] = [];
  const disk = { full: false };
  const sightings: Sightings = {
    read: async () => before,
    async write(seen) {
      if (disk.full) throw new Error("ENOSPC: no space left on device");
      writes.push(Object.fromEntries(seen));
    },
  };
  const log = createLog({ level: "info", format: "pretty", write: (line) => void lines.push(line) });
  const close = await keepSightings({ sightings, presence, clock, log });
  const join = (client: string): Session => {
    const session = {
      client,
      inventory: create(InventorySchema),
      send: () => {},
      reads: () => true,
      end: () => {},
    };
    presence.join(session);
    return session;
  };
  return { clock, presence, writes, lines, disk, join, close };
}

/** What was written is known as written a little later. */
const noted = (): Promise<unknown> => new Promise(setImmediate);

/** Since the start, in seconds. */
const at = (seconds: number): number => START_MS + seconds * SECOND_MS;

test("who comes in the same moment is written in one go, and who stays once a minute", async () => {
  const { clock, writes, join } = await watched();
  for (const client of ["a", "b", "c"]) join(client);
  expect(writes).toEqual([]);
  clock.advance(SECOND_MS);
  expect(writes).toEqual([{ a: at(1), b: at(1), c: at(1) }]);
  await noted();
  clock.advance(MINUTE_MS - SECOND_MS); // a minute after the start, 59 s after the first: nothing is due
  expect(writes).toHaveLength(1);
  clock.advance(MINUTE_MS);
  expect(writes.slice(1)).toEqual([{ a: at(120), b: at(120), c: at(120) }]);
});

test("of a client that goes, the moment is written when it was here last", async () => {
  const { clock, writes, join, presence } = await watched();
  const [a] = [join("a"), join("b")];
  clock.advance(SECOND_MS);
  await noted();
  clock.advance(29 * SECOND_MS);
  presence.leave(a);
  clock.advance(5 * SECOND_MS);
  expect(writes.slice(1)).toEqual([{ a: at(30) }]);
});

test("what was seen last is written at the end, and nothing after it", async () => {
  const { clock, writes, join, close } = await watched();
  join("a");
  clock.advance(20 * SECOND_MS);
  await close();
  expect(writes.at(-1)).toEqual({ a: at(20) });
  const count = writes.length;
  clock.advance(10 * MINUTE_MS);
  expect(writes).toHaveLength(count);
});

test("clients of before are known with their time, and do not count as present", async () => {
  const { presence, join } = await watched(new Map([["gone", at(-3600)]]));
  join("here");
  expect(presence.known()).toEqual(["gone", "here"]);
  expect(presence.lastSeenAtMs("gone")).toBe(at(-3600));
  expect(presence.present(1e15)).toEqual(["here"]);
  presence.expectBack("gone");
  expect(presence.present(SECOND_MS)).toEqual(["gone", "here"]);
});

test("a disk that refuses is told, and the next minute tries again", async () => {
  const { clock, writes, lines, disk, join } = await watched();
  join("a");
  disk.full = true;
  clock.advance(SECOND_MS);
  await noted();
  expect(lines).toEqual([expect.stringMatching(/seen cannot be written .*ENOSPC/)]);
  disk.full = false;
  clock.advance(MINUTE_MS);
  expect(writes).toEqual([{ a: at(60) }]);
});

test("a coordinator that is started again knows when clients were seen", async () => {
  const directory = temporaryDirectory();
  const clock = new ManualClock(START_MS);
  const store = openSqliteStore(directory);
  const first = await coordinatorIn(undefined, { store, sightings: store.sightings, clock });
  const client = new FakeClient(first.fleet({ address: "in process" }), "site-1");
  client.ended.catch(() => undefined);
  later(() => client.close());
  await client.welcome;
  clock.advance(90 * SECOND_MS);
  await first.close();

  const again = openSqliteStore(directory);
  const second = await coordinatorIn(undefined, { store: again, sightings: again.sightings });
  later(() => second.close());
  expect(clientsOf(second)).toMatchObject([{ client: "site-1", connected: false, lastSeenAtMs: at(90) }]);
});
