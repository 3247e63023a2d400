import { expect, test } from "vitest";
import { writeSafetensors } from "../../adapters/safetensors.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { sha256 } from "../../base/hash.ts";
import { Spool } from "../../base/spool.ts";
import { Shelf } from "../../server/blobs/shelf.ts";

const LARGE = writeSafetensors(
  tensorSet([
    [
      "a",
      float32(
        [20_000],
        Float32Array.from({ length: 20_000 }, (_, i) => i),
      ),
    ],
    ["b", float32([3], [1, 2, 3])],
  ]),
);
const SMALL = Uint8Array.of(1, 2, 3);

const SHELVES = [
  { name: "memory", open: () => new Shelf() },
  { name: "memory and a spool", open: () => new Shelf(new Spool()) },
];

test.each(SHELVES)("in $name: blobs come back whole, in chunks and as tensors", ({ open }) => {
  const shelf = open();
  const large = shelf.store([LARGE.subarray(0, 100), LARGE.subarray(100)]);
  const small = shelf.store([SMALL]);
  expect(large).toEqual({ sha256: sha256(LARGE), size: LARGE.length });
  expect(shelf.keep(SMALL)).toEqual(small);
  expect(shelf.hashes()).toEqual([large.sha256, small.sha256]);
  expect(shelf.size(large.sha256)).toBe(LARGE.length);
  expect(Buffer.compare(shelf.bytes(large.sha256), LARGE)).toBe(0);
  expect(Buffer.compare(Buffer.concat([...shelf.chunks(large.sha256, 70)]), LARGE.subarray(70))).toBe(0);
  const file = shelf.tensors(large.sha256, "test");
  expect(file.names).toEqual(["a", "b"]);
  expect([...file.read("b").data]).toEqual([1, 2, 3]);
  expect(file.read("a").data[19_999]).toBe(19_999);
  shelf.close();
});

test.each(SHELVES)("in $name: what is deleted is not there", ({ open }) => {
  const shelf = open();
  const { sha256: hash } = shelf.store([LARGE]);
  shelf.delete(hash);
  expect(shelf.size(hash)).toBeUndefined();
  expect(shelf.hashes()).toEqual([]);
  expect(() => shelf.bytes(hash)).toThrow(`Cannot read blob ${hash}: it is not there`);
  expect(() => shelf.tensors(hash, "test")).toThrow("it is not there");
  shelf.close();
});

test("pieces that were stored are the caller's again, with a spool and without", () => {
  for (const { open } of SHELVES) {
    const shelf = open();
    const piece = new Uint8Array(100_000).fill(1);
    const { sha256: hash } = shelf.store([piece]);
    piece.fill(2);
    expect(shelf.bytes(hash)[0]).toBe(1);
    shelf.close();
  }
});

test("a tensor of a blob that went meanwhile is refused, not another blob's bytes read", () => {
  const shelf = new Shelf(new Spool());
  const { sha256: hash } = shelf.store([LARGE]);
  const file = shelf.tensors(hash, "test");
  shelf.delete(hash);
  shelf.store([new Uint8Array(LARGE.length)]);
  expect(() => file.read("a")).toThrow("These bytes are gone");
  shelf.close();
});
