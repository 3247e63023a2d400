import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ManualClock, systemClock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { createRng } from "../../base/rng.ts";
import { type BlobName, type ClientBlobs, createMemoryBlobs, openDiskBlobs } from "../../client/blobs.ts";
import { createTransfer, type Transfer, type TransferControl } from "../../client/transfer.ts";
import { sharedBlobs } from "../../scenarios/fleet/shared-blobs.ts";
import { Shelf } from "../../server/blobs/shelf.ts";
import { createFakeFleet, type FakeFleet } from "./fake-fleet.ts";

const payload = Uint8Array.from({ length: 1234 }, (_, i) => (i * 7) % 251);

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

const STORES: [string, () => ClientBlobs][] = [
  ["on disk", () => openDiskBlobs(join(temporary(), "blobs"))],
  ["in memory", createMemoryBlobs],
  ["in a fleet's memory", () => sharedBlobs(new Shelf(), { clearedByCoordinator: false })()],
];

/** Waits are skipped: the delay is drawn but the clock is the test's own. */
function transferOver(fleet: FakeFleet, blobs: ClientBlobs): Transfer {
  const clock = { ...systemClock, after: (_: number, wake: () => void) => systemClock.after(0, wake) };
  // Only pauses use after(0); the watch for idleness measures with monotonic() and comes back as often as it likes.
  return createTransfer(fleet, blobs, "c1", { clock, rng: createRng(1), onWait: () => {} });
}

function control(more: Partial<TransferControl> = {}): TransferControl {
  return { signal: new AbortController().signal, idleMs: 10_000, onProgress: () => {}, ...more };
}

function named(fleet: FakeFleet, bytes: Uint8Array): BlobName {
  const { sha256, size } = fleet.store(bytes);
  return { sha256, size: Number(size) };
}

const cut = new FedloomError("F5001", "The connection broke");

test.each(STORES)("a blob %s is fetched once and then found", async (_, open) => {
  const fleet = createFakeFleet();
  const blobs = open();
  const blob = named(fleet, payload);
  const transfer = transferOver(fleet, blobs);
  await transfer.fetch(blob, control());
  await transfer.fetch(blob, control());
  expect(blobs.read(blob)).toEqual(Buffer.from(payload));
  expect(fleet.fetches).toEqual([{ sha256: blob.sha256, offset: 0 }]);
});

test("a broken fetch goes on at the byte it had, also in a later process", async () => {
  const directory = join(temporary(), "blobs");
  const fleet = createFakeFleet();
  const blob = named(fleet, payload);
  const stop = new AbortController();
  fleet.onChunk = (data, offset) => {
    if (offset !== 500) return data;
    stop.abort(new Error("the process ends here"));
    throw cut;
  };
  const first = transferOver(fleet, openDiskBlobs(directory));
  await expect(first.fetch(blob, control({ signal: stop.signal }))).rejects.toThrow("the process ends here");

  fleet.onChunk = (data) => data;
  const blobs = openDiskBlobs(directory);
  await transferOver(fleet, blobs).fetch(blob, control());
  expect(fleet.fetches.map(({ offset }) => offset)).toEqual([0, 500]);
  expect(blobs.read(blob)).toEqual(Buffer.from(payload));
});

test("a fetch outlives any number of broken connections as long as bytes come", async () => {
  const fleet = createFakeFleet();
  const blobs = openDiskBlobs(temporary());
  const blob = named(fleet, payload);
  let chunks = 0;
  fleet.onChunk = (data) => {
    if (++chunks % 2 === 0) throw cut;
    return data;
  };
  await transferOver(fleet, blobs).fetch(blob, control());
  // 1,234 bytes are 13 chunks of 100; every connection but the last gives one and breaks.
  expect(fleet.fetches.map(({ offset }) => offset)).toEqual([...Array(13).keys()].map((i) => i * 100));
  expect(blobs.read(blob)).toEqual(Buffer.from(payload));
});

test.each(STORES)("a damaged chunk is noticed and the blob %s fetched again", async (_, open) => {
  const fleet = createFakeFleet();
  const blobs = open();
  const blob = named(fleet, payload);
  fleet.onChunk = (data, offset) =>
    offset === 300 && fleet.fetches.length === 1 ? Uint8Array.from(data, (byte) => byte ^ 1) : data;
  await transferOver(fleet, blobs).fetch(blob, control());
  expect(fleet.fetches.map(({ offset }) => offset)).toEqual([0, 0]);
  expect(blobs.read(blob)).toEqual(Buffer.from(payload));
});

test.each(STORES)(
  "a blob %s that stays damaged is refused by its hash after three attempts",
  async (_, open) => {
    const fleet = createFakeFleet();
    const blob = named(fleet, payload);
    fleet.onChunk = (data) => Uint8Array.from(data, (byte) => byte ^ 1);
    await expect(transferOver(fleet, open()).fetch(blob, control())).rejects.toThrow(
      expect.objectContaining({ code: "F5106", message: expect.stringContaining(blob.sha256) }),
    );
    expect(fleet.fetches).toHaveLength(3);
  },
);

test("more bytes than were announced are refused before they are written", async () => {
  const fleet = createFakeFleet();
  const blob = named(fleet, payload);
  const stop = new AbortController();
  const directory = temporary();
  fleet.onChunk = (data, offset) => {
    if (offset !== 1200) return data;
    stop.abort();
    return new Uint8Array(10_000);
  };
  const transfer = transferOver(fleet, openDiskBlobs(directory));
  await expect(transfer.fetch(blob, control({ signal: stop.signal }))).rejects.toThrow();
  expect(readFileSync(join(directory, `${blob.sha256}.part`)).length).toBe(1200);
});

test("bits that flip on disk are found when the blob is read, and it is fetched anew", async () => {
  const fleet = createFakeFleet();
  const directory = temporary();
  const blobs = openDiskBlobs(directory);
  const blob = named(fleet, payload);
  const transfer = transferOver(fleet, blobs);
  await transfer.fetch(blob, control());
  const path = join(directory, blob.sha256);
  writeFileSync(path, readFileSync(path).fill(9, 600, 601));
  expect(() => blobs.read(blob)).toThrow(expect.objectContaining({ code: "F5106" }));
  await transfer.fetch(blob, control());
  expect(blobs.read(blob)).toEqual(Buffer.from(payload));
});

test("a push goes on where the coordinator's part ends", async () => {
  const fleet = createFakeFleet();
  const blobs = openDiskBlobs(temporary());
  const blob = await blobs.write((write) => write(payload));
  const part = createFakeFleet();
  // The first 700 bytes are there from an earlier connection.
  fleet.statBlob = async (request, signal) => {
    const answer = await part.statBlob(request, signal);
    return { ...answer, held: 700n };
  };
  const offsets: number[] = [];
  let received = 0;
  fleet.pushBlob = async (requests) => {
    for await (const { message } of requests) {
      if (message.case === "header") offsets.push(Number(message.value.offset));
      if (message.case === "chunk") received += message.value.data.length;
    }
    return { $typeName: "fedloom.v1.PushBlobResponse", size: BigInt(blob.size) };
  };
  const progress: number[] = [];
  await transferOver(fleet, blobs).push(
    blob,
    "t1",
    control({ onProgress: (done) => void progress.push(done) }),
  );
  expect({ offsets, received, last: progress.at(-1) }).toEqual({ offsets: [700], received: 534, last: 1234 });
});

test("a blob that the coordinator has is not sent again", async () => {
  const fleet = createFakeFleet();
  const blobs = openDiskBlobs(temporary());
  const blob = await blobs.write((write) => write(payload));
  fleet.store(payload);
  fleet.before = (call) => {
    if (call === "pushBlob") throw new Error("sent again");
  };
  await transferOver(fleet, blobs).push(blob, "t1", control());
});

test("a transfer that stands still is given up by name and tried again", async () => {
  const fleet = createFakeFleet();
  const blob = named(fleet, payload);
  const clock = new ManualClock();
  const waits: string[] = [];
  const real = fleet.fetchBlob;
  let attempts = 0;
  fleet.fetchBlob = (request, signal) => {
    if (++attempts > 1) return real(request, signal);
    return (async function* () {
      yield* []; // never anything, until the caller gives up
      const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve));
      clock.advance(30_000);
      await aborted;
      throw new FedloomError("F5006", "Cancelled");
    })();
  };
  const transfer = createTransfer(fleet, openDiskBlobs(temporary()), "c1", {
    clock,
    rng: createRng(1),
    onWait(reason, retryMs) {
      waits.push(reason.message);
      queueMicrotask(() => clock.advance(retryMs));
    },
  });
  await transfer.fetch(blob, control({ idleMs: 30_000 }));
  expect(waits).toEqual([`Cannot go on with fetching blob ${blob.sha256}: nothing moved for 30000 ms`]);
});

test("old blobs make room, those in use stay", async () => {
  const directory = temporary();
  const blobs = openDiskBlobs(directory);
  const names: BlobName[] = [];
  for (let i = 0; i < 20; i++) names.push(await blobs.write((write) => write(Uint8Array.of(i))));
  blobs.prune(new Set([names[0]!.sha256]));
  expect(readdirSync(directory)).toHaveLength(9); // the one in use and eight spare ones
  expect(blobs.has(names[0]!)).toBe(true);
});
