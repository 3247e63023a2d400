import { closeSync, openSync } from "node:fs";
import { expect, test } from "vitest";
import { sha256 } from "../../base/hash.ts";
import { Spool } from "../../base/spool.ts";
import { SpoolThread } from "../../server/blobs/spool-thread.ts";

const BYTES = new Uint8Array(1_000_000).fill(7);

test("takes three blobs at a time, and the next one when a place is free", async () => {
  const spool = new Spool();
  const thread = new SpoolThread(spool);
  const write = () => thread.write([BYTES], BYTES.length);
  const [first, ...others] = [write(), write(), write()];
  expect(write()).toBeUndefined();
  await first;
  // Shorter than what lay there before, and longer.
  const shorter = thread.write([BYTES.subarray(0, 10), BYTES.subarray(10, 999_998)], 999_998)!;
  await Promise.all(others);
  const twice = thread.write([BYTES, BYTES], 2_000_000)!;
  for (const [written, bytes] of [
    [await shorter, BYTES.subarray(0, 999_998)],
    [await twice, Buffer.concat([BYTES, BYTES])],
  ] as const) {
    expect(written.sha256).toBe(sha256(bytes));
    const back = new Uint8Array(written.extent.size);
    spool.read(written.extent, 0, back);
    expect(Buffer.compare(back, bytes)).toBe(0);
  }
  await thread.close();
  spool.close();
});

test("leaves blobs that are small or large to its caller", () => {
  const thread = new SpoolThread(new Spool());
  expect(thread.write([], 2 ** 19 - 1)).toBeUndefined();
  expect(thread.write([], 2 ** 22 + 1)).toBeUndefined();
});

test.skipIf(process.platform !== "linux")("a full disk is said, and the place goes to others", async () => {
  const full = openSync("/dev/full", "r+");
  class OnFullDisk extends Spool {
    override get fd(): number {
      return full;
    }
  }
  const spool = new OnFullDisk();
  const thread = new SpoolThread(spool);
  await expect(thread.write([BYTES], BYTES.length)).rejects.toMatchObject({
    code: "F4004",
    message: expect.stringMatching(/Cannot write a temporary file in .*: ENOSPC/),
  });
  expect(spool.write([BYTES]).at).toBe(0);
  await thread.close();
  closeSync(full);
  spool.close();
});

test("what it has not written when it ends is rejected, and the place goes to others", async () => {
  const spool = new Spool();
  const thread = new SpoolThread(spool);
  const pending = thread.write([BYTES], BYTES.length);
  const refused = expect(pending).rejects.toThrow("The thread that writes the temporary file ended");
  await thread.close();
  await refused;
  expect(spool.write([BYTES]).at).toBe(0);
  spool.close();
});
