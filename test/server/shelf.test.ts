import { expect, test } from "vitest";
import { writeSafetensors } from "../../adapters/safetensors.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { sha256 } from "../../base/hash.ts";
import { Spool } from "../../base/spool.ts";
import { Shelf } from "../../server/blobs/shelf.ts";

/** So many that a spool's thread takes them. */
const NUMBERS = 200_000;
const LARGE = writeSafetensors(
  tensorSet([
    [
      "a",
      float32(
        [NUMBERS],
        Float32Array.from({ length: NUMBERS }, (_, i) => i),
      ),
    ],
    ["b", float32([3], [1, 2, 3])],
  ]),
);
const SMALL = Uint8Array.of(1, 2, 3);

const SHELVES = [
  { name: "memory", open: () => new Shelf() },
  { name: "memory and a spool", open: () => new Shelf(new Spool()) },
  { name: "memory and a spool with a thread", open: () => new Shelf(new Spool(), { thread: true }) },
];

test.each(SHELVES)("in $name: blobs come back whole, in chunks and as tensors", async ({ open }) => {
  const shelf = open();
  const large = await shelf.store([LARGE.subarray(0, 100), LARGE.subarray(100)]);
  const small = await shelf.store([SMALL]);
  expect(large).toEqual({ sha256: sha256(LARGE), size: LARGE.length });
  expect(shelf.keep(SMALL)).toEqual(small);
  expect(shelf.hashes()).toEqual([large.sha256, small.sha256]);
  expect(shelf.size(large.sha256)).toBe(LARGE.length);
  expect(Buffer.compare(shelf.bytes(large.sha256), LARGE)).toBe(0);
  expect(Buffer.compare(Buffer.concat([...shelf.chunks(large.sha256, 70)]), LARGE.subarray(70))).toBe(0);
  const file = shelf.tensors(large.sha256, "test");
  expect(file.names).toEqual(["a", "b"]);
  expect([...file.read("b").data]).toEqual([1, 2, 3]);
  expect(file.read("a").data[NUMBERS - 1]).toBe(NUMBERS - 1);
  await shelf.close();
});

test.each(SHELVES)("in $name: what is deleted is not there", async ({ open }) => {
  const shelf = open();
  const { sha256: hash } = await shelf.store([LARGE]);
  shelf.delete(hash);
  expect(shelf.size(hash)).toBeUndefined();
  expect(shelf.hashes()).toEqual([]);
  expect(() => shelf.bytes(hash)).toThrow(`Cannot read blob ${hash}: it is not there`);
  expect(() => shelf.tensors(hash, "test")).toThrow("it is not there");
  await shelf.close();
});

test("pieces are the caller's again at once, with a spool and without", async () => {
  for (const { open } of SHELVES) {
    const shelf = open();
    const piece = new Uint8Array(1_000_000).fill(1);
    const stored = shelf.store([piece]);
    piece.fill(2);
    expect(shelf.bytes((await stored).sha256)[0]).toBe(1);
    await shelf.close();
  }
});

test("a tensor of a blob that went meanwhile is refused, not another blob's bytes read", async () => {
  const shelf = new Shelf(new Spool());
  const { sha256: hash } = await shelf.store([LARGE]);
  const file = shelf.tensors(hash, "test");
  shelf.delete(hash);
  await shelf.store([new Uint8Array(LARGE.length)]);
  expect(() => file.read("a")).toThrow("These bytes are gone");
  await shelf.close();
});

test.each(SHELVES.slice(1))("in $name: many at once, and equal ones, each come back", async ({ open }) => {
  const shelf = open();
  const bytesOf = (i: number) => new Uint8Array(700_000 + (i % 7)).fill(i % 7);
  const stored = await Promise.all(Array.from({ length: 20 }, (_, i) => shelf.store([bytesOf(i)])));
  expect(shelf.hashes()).toHaveLength(7);
  for (const [i, { sha256: hash, size }] of stored.entries()) {
    expect({ hash, size }).toEqual({ hash: sha256(bytesOf(i)), size: bytesOf(i).length });
    expect(Buffer.compare(shelf.bytes(hash), bytesOf(i))).toBe(0);
  }
  await shelf.close();
});

/** Of SHELVES those that look at numbers when they store them. */
test.each(SHELVES.slice(1))("in $name: what is known to be finite is", async ({ open }) => {
  const shelf = open();
  const known = async (file: Uint8Array): Promise<unknown> => {
    const opened = shelf.tensors((await shelf.store([file])).sha256, "test");
    return opened.isFinite?.("a") ?? false;
  };
  const numbers = Float32Array.from({ length: NUMBERS }, (_, i) => i);
  const fileOf = (values: Float32Array) => writeSafetensors(tensorSet([["a", float32([NUMBERS], values)]]));
  expect(await known(fileOf(numbers))).toBe(true);
  expect(await known(fileOf(numbers.with(NUMBERS - 1, Number.NaN)))).toBe(false);
  expect(await known(fileOf(numbers.with(0, Number.NEGATIVE_INFINITY)))).toBe(false);
  // NaN from an odd byte on: at multiples of four there are finite numbers.
  const header = Buffer.from(
    JSON.stringify({
      b: { dtype: "U8", shape: [1], data_offsets: [0, 1] },
      a: { dtype: "F32", shape: [NUMBERS], data_offsets: [1, 4 * NUMBERS + 1] },
      c: { dtype: "U8", shape: [3], data_offsets: [4 * NUMBERS + 1, 4 * NUMBERS + 4] },
    }).padEnd(256),
  );
  const length = Buffer.alloc(8);
  length.writeUInt32LE(header.length);
  const nan = Buffer.from(new Float32Array(NUMBERS).fill(Number.NaN).buffer);
  expect(await known(Buffer.concat([length, header, Buffer.alloc(1), nan, Buffer.alloc(3)]))).toBe(false);
  await shelf.close();
});
