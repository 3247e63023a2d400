import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { writeSafetensors } from "../../adapters/safetensors.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { armFailpoints } from "../../base/failpoint.ts";
import { sha256 } from "../../base/hash.ts";
import type { Blobs } from "../../server/blobs/blobs.ts";
import { openBlobFolder } from "../../server/blobs/folder.ts";
import { createMemoryBlobs } from "../../server/blobs/memory.ts";
import { later, temporaryDirectory } from "./setting.ts";

const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
const blob = { sha256: sha256(bytes), size: bytes.length };

async function* inPieces(from: number, to = bytes.length, step = 70_000): AsyncGenerator<Uint8Array> {
  for (let at = from; at < to; at += step) yield bytes.subarray(at, Math.min(at + step, to));
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part.slice());
  return Buffer.concat(parts);
}

const IMPLEMENTATIONS: readonly { readonly name: string; open(): Promise<Blobs> }[] = [
  { name: "memory", open: async () => createMemoryBlobs() },
  { name: "folder", open: () => openBlobFolder(temporaryDirectory()) },
];

describe.each(IMPLEMENTATIONS)("blobs: $name", ({ open }) => {
  test("gives back what was put, whole and from any offset", async () => {
    const blobs = await open();
    expect(await blobs.put(bytes)).toEqual(blob);
    expect(await blobs.put(bytes)).toEqual(blob);
    expect(await blobs.size(blob.sha256)).toBe(bytes.length);
    expect(sha256(await blobs.bytes(blob))).toBe(blob.sha256);
    expect(sha256(await collect(blobs.read(blob.sha256, 0)))).toBe(blob.sha256);
    expect(await collect(blobs.read(blob.sha256, 299_990))).toEqual(Buffer.from(bytes.subarray(299_990)));
    expect(await blobs.list()).toEqual([blob.sha256]);
  });

  test("takes bytes that are never all there, and keeps nothing of what ends early", async () => {
    const blobs = await open();
    const broken = blobs.write(async (write) => {
      await write(bytes.subarray(0, 1_000));
      throw new Error("no more");
    });
    await expect(broken).rejects.toThrow("no more");
    expect(await blobs.list()).toEqual([]);
    const block = new Uint8Array(70_000); // used again by the writer
    const written = await blobs.write(async (write) => {
      for await (const piece of inPieces(0)) {
        block.set(piece);
        await write(block.subarray(0, piece.length));
      }
    });
    expect(written).toEqual(blob);
    expect(sha256(await blobs.bytes(blob))).toBe(blob.sha256);
  });

  test("reads a safetensors blob tensor by tensor", async () => {
    const blobs = await open();
    const set = tensorSet([
      ["a", float32([2, 1], [1, 2])],
      ["b", float32([3], [3, 4, 5])],
    ]);
    const file = await blobs.tensors(await blobs.put(writeSafetensors(set)), "test");
    expect(file.names).toEqual(["a", "b"]);
    expect([...file.read("b").data]).toEqual([3, 4, 5]);
    file.close();
  });

  test("an upload goes on where it was cut off", async () => {
    const blobs = await open();
    await blobs.receive("c1", blob, 0, inPieces(0, 140_000));
    expect(await blobs.size(blob.sha256)).toBeUndefined();
    expect(await blobs.held("c1", blob.sha256)).toBe(140_000);
    expect(await blobs.held("c2", blob.sha256)).toBe(0);
    await blobs.receive("c1", blob, 140_000, inPieces(140_000));
    expect(await blobs.size(blob.sha256)).toBe(bytes.length);
    expect(await blobs.held("c1", blob.sha256)).toBe(0);
  });

  test("an upload that leaves a gap or goes over old bytes is refused", async () => {
    const blobs = await open();
    await blobs.receive("c1", blob, 0, inPieces(0, 70_000));
    for (const offset of [0, 69_999, 70_001]) {
      await expect(blobs.receive("c1", blob, offset, inPieces(offset))).rejects.toMatchObject({
        code: "F5005",
      });
    }
  });

  test("bytes with another hash are refused and forgotten", async () => {
    const blobs = await open();
    const announced = { ...blob, sha256: sha256("something else") };
    await expect(blobs.receive("c7", announced, 0, inPieces(0))).rejects.toMatchObject({
      code: "F5010",
      message: expect.stringContaining('client "c7"'),
    });
    expect(await blobs.held("c7", announced.sha256)).toBe(0);
    expect(await blobs.list()).toEqual([]);
  });

  test("more bytes than announced are refused", async () => {
    const blobs = await open();
    const announced = { ...blob, size: 1000 };
    await expect(blobs.receive("c7", announced, 0, inPieces(0))).rejects.toMatchObject({ code: "F5005" });
  });

  test("uploads of two owners do not mix, and one owner's can be forgotten", async () => {
    const blobs = await open();
    await blobs.receive("site.a", blob, 0, inPieces(0, 70_000));
    await blobs.receive("site", blob, 0, inPieces(0, 140_000));
    await blobs.forget("site");
    expect(await blobs.held("site", blob.sha256)).toBe(0);
    expect(await blobs.held("site.a", blob.sha256)).toBe(70_000);
  });

  test("a blob that is not there is named", async () => {
    const blobs = await open();
    const missing = { sha256: sha256("nothing"), size: 7 };
    await expect(blobs.bytes(missing)).rejects.toMatchObject({ code: "F4005" });
    await expect(collect(blobs.read(missing.sha256, 0))).rejects.toMatchObject({ code: "F4005" });
    await blobs.put(bytes);
    await blobs.delete(blob.sha256);
    await expect(blobs.tensors(blob, "test")).rejects.toMatchObject({ code: "F4005" });
  });
});

test("a bit that flips on disk is found before anyone uses the blob", async () => {
  const directory = temporaryDirectory();
  const blobs = await openBlobFolder(directory);
  await blobs.put(bytes);
  const path = join(directory, blob.sha256.slice(0, 2), blob.sha256);
  const content = readFileSync(path);
  content[123_456]! ^= 1;
  writeFileSync(path, content);
  await expect(blobs.bytes(blob)).rejects.toMatchObject({ code: "F4005" });
  await expect(blobs.tensors(blob, "test")).rejects.toMatchObject({ code: "F4005" });
});

test("an upload survives the process: the next one opens the folder and finds what was held", async () => {
  const directory = temporaryDirectory();
  await (await openBlobFolder(directory)).receive("c1", blob, 0, inPieces(0, 140_000));
  const again = await openBlobFolder(directory);
  expect(await again.held("c1", blob.sha256)).toBe(140_000);
  await again.receive("c1", blob, 140_000, inPieces(140_000));
  expect(await again.size(blob.sha256)).toBe(bytes.length);
});

test("an upload whose last byte came but whose name did not is taken up without a byte", async () => {
  const directory = temporaryDirectory();
  await openBlobFolder(directory);
  writeFileSync(join(directory, "partial", `c1.${blob.sha256}`), bytes);
  const blobs = await openBlobFolder(directory); // the process after the crash
  await blobs.receive("c1", blob, bytes.length, inPieces(bytes.length));
  expect(await blobs.size(blob.sha256)).toBe(bytes.length);
});

test("what a process was writing when it died is gone from the folder of the next, uploads are not", async () => {
  const directory = temporaryDirectory();
  const first = await openBlobFolder(directory);
  await first.receive("c1", blob, 0, inPieces(0, 70_000));
  const partials = join(directory, "partial");
  for (const owner of ["_put0", "_write3", "_gone7"])
    writeFileSync(join(partials, `${owner}.${blob.sha256}`), "x");
  const second = await openBlobFolder(directory);
  expect(readdirSync(partials)).toEqual([`c1.${blob.sha256}`]);
  expect(await second.held("c1", blob.sha256)).toBe(70_000);
});

test("a newer connection of a client takes its half-open upload over", async () => {
  const blobs = await openBlobFolder(temporaryDirectory());
  const arrived = Promise.withResolvers<void>();
  async function* stuck(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 70_000);
    arrived.resolve();
    await new Promise(() => undefined); // the other side is gone and did not say so
  }
  const older = blobs.receive("c1", blob, 0, stuck());
  const olderEnds = expect(older).rejects.toMatchObject({ code: "F5006" });
  await arrived.promise;
  const newer = blobs.receive("c1", blob, 70_000, inPieces(70_000));
  await olderEnds;
  await newer;
  expect(await blobs.size(blob.sha256)).toBe(bytes.length);
});

test.each(["server.chunk-written", "server.blob-syncing", "server.blob-synced"] as const)(
  "a disk that refuses at %s is named, and nothing half-written has a name",
  async (failpoint) => {
    const blobs = await openBlobFolder(temporaryDirectory());
    later(() => armFailpoints(""));
    armFailpoints(`${failpoint}=error:ENOSPC`);
    await expect(blobs.receive("c1", blob, 0, inPieces(0))).rejects.toMatchObject({
      code: "F4004",
      message: expect.stringContaining("ENOSPC"),
    });
    expect(await blobs.size(blob.sha256)).toBeUndefined();
    const held = await blobs.held("c1", blob.sha256);
    await blobs.receive("c1", blob, held, inPieces(held));
    expect(await blobs.size(blob.sha256)).toBe(bytes.length);
  },
);
