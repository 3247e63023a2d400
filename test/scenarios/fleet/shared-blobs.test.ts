import { expect, test } from "vitest";
import { sha256 } from "../../../base/hash.ts";
import type { ClientBlobs } from "../../../client/blobs.ts";
import { sharedBlobs } from "../../../scenarios/fleet/shared-blobs.ts";
import { Shelf } from "../../../server/blobs/shelf.ts";

const BYTES = Uint8Array.of(1, 2, 3);
const NAME = { sha256: sha256(BYTES), size: 3 };

const write = (blobs: ClientBlobs) => blobs.write((put) => put(BYTES));

test("what one client has, every other one has, in one place", async () => {
  const shelf = new Shelf();
  const of = sharedBlobs(shelf, { clearedByCoordinator: false });
  const [a, b] = [of(), of()];
  expect(await write(a)).toEqual(NAME);
  expect(await write(b)).toEqual(NAME);
  expect(b.has(NAME)).toBe(true);
  expect(b.read(NAME)).toBe(a.read(NAME));
  expect(shelf.hashes()).toHaveLength(1);
});

test("a blob goes when the last client that uses it has no need of it", async () => {
  const shelf = new Shelf();
  const of = sharedBlobs(shelf, { clearedByCoordinator: false });
  const [a, b, stranger] = [of(), of(), of()];
  await write(a);
  b.read(NAME);
  stranger.prune(new Set());
  a.prune(new Set([NAME.sha256]));
  b.prune(new Set());
  expect(a.has(NAME)).toBe(true);
  a.prune(new Set());
  expect(shelf.hashes()).toEqual([]);
});

test("in the coordinator's memory clients clear nothing", async () => {
  const shelf = new Shelf();
  const a = sharedBlobs(shelf, { clearedByCoordinator: true })();
  await write(a);
  a.prune(new Set());
  expect(shelf.hashes()).toHaveLength(1);
});

test("pieces that are fetched or written become one blob", async () => {
  const of = sharedBlobs(new Shelf(), { clearedByCoordinator: false });
  const a = of();
  const receiver = await a.receive(NAME);
  expect(receiver.offset).toBe(0);
  await receiver.append(BYTES.subarray(0, 1));
  await receiver.append(BYTES.subarray(1));
  await receiver.finish();
  expect([...a.read(NAME)]).toEqual([1, 2, 3]);
  const pieces: number[] = [];
  for await (const chunk of a.chunks(NAME, 1)) pieces.push(...chunk);
  expect(pieces).toEqual([2, 3]);
});
