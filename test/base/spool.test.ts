import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Extent, Spool } from "../../base/spool.ts";

const bytesOf = (size: number, first: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => first + 7 * i);

const readAll = (spool: Spool, extent: Extent): Uint8Array => {
  const bytes = new Uint8Array(extent.size);
  spool.read(extent, 0, bytes);
  return bytes;
};

test("gives back what was written, whatever came and went meanwhile", () => {
  const step = fc.record({
    pieces: fc.array(fc.nat(9_000), { maxLength: 4 }),
    free: fc.option(fc.nat(20), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const spool = new Spool();
      const held: { readonly extent: Extent; readonly bytes: Uint8Array }[] = [];
      for (const [i, { pieces, free }] of steps.entries()) {
        const parts = pieces.map((size, k) => bytesOf(size, 31 * i + k));
        held.push({ extent: spool.write(parts), bytes: Buffer.concat(parts) });
        const [gone] = free === undefined ? [] : held.splice(free, 1);
        if (gone !== undefined) spool.free(gone.extent);
      }
      for (const { extent, bytes } of held) expect(Buffer.compare(readAll(spool, extent), bytes)).toBe(0);
      spool.close();
    }),
    { numRuns: 50 },
  );
});

test("takes more pieces than one call of the system does, and gives back any part", () => {
  const spool = new Spool();
  const pieces = Array.from({ length: 2_500 }, (_, i) => bytesOf(3, i));
  const extent = spool.write(pieces);
  expect(Buffer.compare(readAll(spool, extent), Buffer.concat(pieces))).toBe(0);
  const part = new Uint8Array(5);
  spool.read(extent, 3_001, part);
  expect(part).toEqual(Uint8Array.from(Buffer.concat(pieces).subarray(3_001, 3_006)));
  spool.close();
});

test("a place that was freed is used again, and what lay there cannot be read any more", () => {
  const spool = new Spool();
  const first = spool.write([bytesOf(100_000, 1)]);
  const second = spool.write([bytesOf(100_000, 2)]);
  spool.free(first);
  const third = spool.write([bytesOf(99_000, 3)]);
  expect(third.at).toBe(first.at);
  expect(() => readAll(spool, first)).toThrow("These bytes are gone");
  expect(Buffer.compare(readAll(spool, second), bytesOf(100_000, 2))).toBe(0);
  expect(() => spool.read(second, 99_999, new Uint8Array(2))).toThrow(
    "There are 100000 bytes, 2 wanted from 99999",
  );
  spool.close();
});

test.skipIf(process.platform === "win32")("leaves no file behind, not even while it is open", () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith("fedloom-spool-"));
  const spool = new Spool();
  spool.write([bytesOf(10, 1)]);
  const during = readdirSync(tmpdir()).filter((name) => name.startsWith("fedloom-spool-"));
  expect(during.filter((name) => !before.includes(name))).toEqual([]);
  spool.close();
});

test.skipIf(process.platform === "win32")("says which folder it could not write", () => {
  const before = process.env.TMPDIR;
  process.env.TMPDIR = "/nowhere/at/all";
  try {
    expect(() => new Spool()).toThrow(
      'Cannot write a temporary file in "/nowhere/at/all" (TMPDIR names another folder): ENOENT',
    );
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
});
