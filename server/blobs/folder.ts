/**
 * Blobs in a folder: `ab/abcdef...` for whole ones, `partial/<owner>.<sha256>` for uploads under way.
 *
 * A file gets its name after its bytes were hashed and synced; its directory is synced before anyone is told.
 */
import { createHash, type Hash } from "node:crypto";
import { existsSync, renameSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors, type SafetensorsFile } from "../../adapters/safetensors.ts";
import { createHeaderReader } from "../../adapters/safetensors-header.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { failpoint } from "../../base/failpoint.ts";
import { SHA256_HEX, sha256 } from "../../base/hash.ts";
import { CHUNK_BYTES } from "../../proto/channel.ts";
import { untilAborted } from "../../proto/streams.ts";
import type { BlobRef } from "../records.ts";
import type { Blobs } from "./blobs.ts";
import { HotBlobs } from "./hot.ts";
import { checkOffset, damagedBlob, missingBlob, tooLong, wrongHash } from "./refusals.ts";

/** Configurations, and adapters of toys: read again and again, they are hashed once and then kept in memory. */
const SMALL_BYTES = 64 * 2 ** 10;

/** What is written in small pieces goes to disk in blocks of this: a call of the system takes longer than they do. */
const BLOCK_BYTES = 256 * 2 ** 10;

export async function openBlobFolder(directory: string): Promise<Blobs> {
  const partials = join(directory, "partial");
  await onDisk(directory, () => mkdir(partials, { recursive: true }));
  const pathOf = (hash: string) => join(directory, hash.slice(0, 2), hash);
  const partialOf = (owner: string, hash: string) => join(partials, `${owner}.${hash}`);
  /** Sizes of whole blobs that this process wrote or saw: most questions are about the same few. */
  const sizes = new Map<string, number>();
  const folders = new Set(await readdir(directory));
  await syncFolder(directory); // a crash may have come between a folder's making and its sync
  /** Bytes of unfinished uploads, by the path of their file. */
  const partSizes = new Map<string, number>();
  for (const name of await readdir(partials)) {
    const path = join(partials, name);
    // What no client owns is of a process that died, and nobody goes on with it.
    if (name.startsWith("_")) await rm(path, { force: true });
    else partSizes.set(path, (await sizeOf(path)) ?? 0);
  }
  /** Updates of a round mostly have one header. */
  const headerOf = createHeaderReader();
  let puts = 0;
  let gones = 0;
  /** Uploads under way: a client that comes back takes over from its own half-open connection. */
  const active = new Map<string, { readonly stop: AbortController; readonly ended: Promise<unknown> }>();

  /** Gives a synced file its name. */
  async function publish(temporary: string, { sha256: hash, size }: BlobRef): Promise<void> {
    const name = hash.slice(0, 2);
    const folder = join(directory, name);
    await onDisk(folder, async () => {
      failpoint("server.blob-synced");
      if (!folders.has(name)) {
        await mkdir(folder, { recursive: true });
        await syncFolder(directory);
        folders.add(name);
      }
      await rename(temporary, pathOf(hash));
      await syncFolder(folder);
      failpoint("server.blob-renamed");
    });
    sizes.set(hash, size);
  }

  async function size(hash: string): Promise<number | undefined> {
    const known = sizes.get(hash) ?? (await sizeOf(pathOf(hash)));
    if (known !== undefined) sizes.set(hash, known);
    return known;
  }

  /** Reads a blob. What is missing or damaged is not counted as there any more. */
  async function reading<T>(hash: string, act: (path: string) => T): Promise<Awaited<T>> {
    try {
      return await act(pathOf(hash));
    } catch (error) {
      sizes.delete(hash);
      throw (await sizeOf(pathOf(hash))) === undefined ? missingBlob(hash) : error;
    }
  }

  const bytes = ({ sha256: hash }: BlobRef): Promise<Uint8Array> =>
    reading(hash, async (path) => {
      const all = await readFile(path);
      if (sha256(all) !== hash) throw damagedBlob(hash);
      return all;
    });
  const hot = new HotBlobs(bytes);

  async function append(
    owner: string,
    blob: BlobRef,
    offset: number,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const path = partialOf(owner, blob.sha256);
    checkOffset(owner, blob, offset, partSizes.get(path) ?? 0);
    const hash = createHash("sha256");
    if (offset > 0) await hashInto(hash, path, offset);
    let size = offset;
    let got = "";
    try {
      await withFile(path, "a", async (file) => {
        for await (const chunk of untilAborted(chunks, signal)) {
          size += chunk.length;
          if (size > blob.size) break;
          hash.update(chunk);
          await onDisk(path, () => file.writeFile(chunk));
          partSizes.set(path, size);
          await onDisk(path, async () => failpoint("server.chunk-written"));
        }
        if (size === blob.size) await sync(path, file);
      });
      if (size < blob.size) return;
      got = hash.digest("hex");
      if (size === blob.size && got === blob.sha256) {
        await publish(path, blob);
        partSizes.delete(path);
        return;
      }
    } catch (error) {
      // A write may have failed in its middle: what the file holds now is what an upload goes on from.
      partSizes.set(path, (await sizeOf(path)) ?? 0);
      throw error;
    }
    await rm(path, { force: true });
    partSizes.delete(path);
    throw size > blob.size ? tooLong(owner, blob) : wrongHash(owner, blob, got);
  }

  return {
    size,
    async put(bytes) {
      const hash = sha256(bytes);
      const blob = { sha256: hash, size: bytes.length };
      if ((await size(hash)) === undefined) {
        const temporary = partialOf(`_put${puts++}`, hash);
        await withFile(temporary, "w", async (file) => {
          await onDisk(temporary, () => file.writeFile(bytes));
          await sync(temporary, file);
        });
        await publish(temporary, blob);
      }
      return blob;
    },
    async write(fill) {
      const temporary = partialOf(`_write${puts++}`, "0".repeat(64));
      const hash = createHash("sha256");
      let size = 0;
      try {
        await withFile(temporary, "w", async (file) => {
          const block = Buffer.allocUnsafe(BLOCK_BYTES);
          let filled = 0;
          const flush = async (bytes: Uint8Array): Promise<void> => {
            if (bytes.length > 0) await onDisk(temporary, () => file.writeFile(bytes));
          };
          await fill(async (bytes) => {
            hash.update(bytes);
            size += bytes.length;
            if (filled + bytes.length > block.length) {
              await flush(block.subarray(0, filled));
              filled = 0;
            }
            if (bytes.length > block.length) return flush(bytes);
            block.set(bytes, filled);
            filled += bytes.length;
          });
          await flush(block.subarray(0, filled));
          await sync(temporary, file);
        });
        const blob = { sha256: hash.digest("hex"), size };
        await publish(temporary, blob);
        return blob;
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    },
    held: async (owner, hash) => partSizes.get(partialOf(owner, hash)) ?? 0,
    async receive(owner, blob, offset, chunks) {
      const key = partialOf(owner, blob.sha256);
      const older = active.get(key);
      older?.stop.abort(
        new FedloomError("F5006", `Cannot go on with an upload of client "${owner}": a newer one took over`),
      );
      await older?.ended;
      const stop = new AbortController();
      const work = append(owner, blob, offset, chunks, stop.signal);
      const entry = { stop, ended: work.catch(() => undefined) };
      active.set(key, entry);
      try {
        await work;
      } finally {
        if (active.get(key) === entry) active.delete(key);
      }
    },
    async *read(hash, offset) {
      const found = await size(hash);
      if (found === undefined) throw missingBlob(hash);
      const blob = { sha256: hash, size: found };
      yield* hot.fits(blob) ? hot.read(blob, offset) : chunksOf(pathOf(hash), offset);
    },
    bytes: async (blob) => (blob.size > SMALL_BYTES ? bytes(blob) : hot.whole(blob)),
    tensors: ({ sha256: hash }): Promise<SafetensorsFile> =>
      reading(hash, async (path) => {
        if ((await hashOf(path)) !== hash) throw damagedBlob(hash);
        return openSafetensors(path, headerOf);
      }),
    look: ({ sha256: hash }) => reading(hash, (path) => openSafetensors(path, headerOf)),
    path: ({ sha256: hash }) => pathOf(hash),
    async list() {
      const names = await readdir(directory, { recursive: true });
      return names.map((name) => name.slice(3)).filter((name) => SHA256_HEX.test(name));
    },
    async delete(hash) {
      sizes.delete(hash);
      const path = pathOf(hash);
      if (!existsSync(path)) return;
      // Nobody finds it from here on, however long the disk takes with its bytes.
      const gone = partialOf(`_gone${gones++}`, hash);
      await onDisk(path, async () => renameSync(path, gone));
      await rm(gone, { force: true });
    },
    async forget(owner) {
      const names = await readdir(partials);
      // Owners hold dots, hashes do not: the last dot parts the two.
      const own = names.filter((name) => name.slice(0, name.lastIndexOf(".")) === owner);
      for (const name of own) partSizes.delete(join(partials, name));
      await Promise.all(own.map((name) => rm(join(partials, name), { force: true })));
    },
  };
}

/** Into one buffer, no larger than the file: most blobs are small, and all of them are hashed. */
async function hashInto(hash: Hash, path: string, size: number): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(Math.max(size, 1), CHUNK_BYTES));
  await withFile(path, "r", async (file) => {
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      hash.update(buffer.subarray(0, bytesRead));
    }
  });
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await hashInto(hash, path, (await stat(path)).size);
  return hash.digest("hex");
}

/** All in one buffer: fresh ones for each chunk of each client would be as much garbage as is handed out. */
async function* chunksOf(path: string, offset: number): AsyncGenerator<Uint8Array> {
  const file = await open(path, "r");
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  try {
    for (let at = offset; ; ) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

async function withFile(
  path: string,
  flags: string,
  act: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const file = await onDisk(path, () => open(path, flags, 0o600));
  try {
    await act(file);
  } finally {
    await file.close();
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
}

async function sync(path: string, file: FileHandle): Promise<void> {
  await onDisk(path, () => {
    failpoint("server.blob-syncing");
    return file.sync();
  });
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return; // it cannot open directories and needs no such step
  await withFile(folder, "r", (file) => file.sync());
}

async function onDisk<T>(path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    if (cause instanceof FedloomError) throw cause;
    throw new FedloomError("F4004", `Cannot write "${path}": ${messageOf(cause)}`, { path }, { cause });
  }
}
