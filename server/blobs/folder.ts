/**
 * Blobs in a folder: `ab/abcdef...` for whole ones, `partial/<owner>.<sha256>` for uploads under way.
 *
 * A file gets its name after its bytes were hashed and synced; its directory is synced before anyone is told.
 */
import { createHash, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors, type SafetensorsFile } from "../../adapters/safetensors.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { failpoint } from "../../base/failpoint.ts";
import { SHA256_HEX, sha256 } from "../../base/hash.ts";
import { CHUNK_BYTES } from "../../proto/channel.ts";
import { untilAborted } from "../../proto/streams.ts";
import type { BlobRef } from "../records.ts";
import type { Blobs } from "./blobs.ts";
import { HotBlobs } from "./hot.ts";
import { checkOffset, damagedBlob, missingBlob, tooLong, wrongHash } from "./refusals.ts";

export async function openBlobFolder(directory: string): Promise<Blobs> {
  const partials = join(directory, "partial");
  await onDisk(directory, () => mkdir(partials, { recursive: true }));
  const pathOf = (hash: string) => join(directory, hash.slice(0, 2), hash);
  const partialOf = (owner: string, hash: string) => join(partials, `${owner}.${hash}`);
  /** Sizes of whole blobs that this process wrote or saw: most questions are about the same few. */
  const sizes = new Map<string, number>();
  const folders = new Set(await readdir(directory));
  await syncFolder(directory); // a crash may have come between a folder's making and its sync
  let puts = 0;
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

  /** Reads a whole blob. What is missing or damaged is not counted as there any more. */
  async function whole<T>(hash: string, act: (path: string, size: number) => Promise<T>): Promise<T> {
    try {
      const found = await sizeOf(pathOf(hash));
      if (found === undefined) throw missingBlob(hash);
      return await act(pathOf(hash), found);
    } catch (error) {
      sizes.delete(hash);
      throw error;
    }
  }

  const bytes = ({ sha256: hash }: BlobRef): Promise<Uint8Array> =>
    whole(hash, async (path) => {
      const all = await readFile(path);
      if (sha256(all) !== hash) throw damagedBlob(hash);
      return all;
    });
  const hot = new HotBlobs(bytes);

  const verify = ({ sha256: wanted }: BlobRef): Promise<void> =>
    whole(wanted, async (path, found) => {
      const hash = createHash("sha256");
      await hashPart(path, found, hash);
      if (hash.digest("hex") !== wanted) throw damagedBlob(wanted);
    });

  async function append(
    owner: string,
    blob: BlobRef,
    offset: number,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const path = partialOf(owner, blob.sha256);
    checkOffset(owner, blob, offset, (await sizeOf(path)) ?? 0);
    const hash = createHash("sha256");
    if (offset > 0) await hashPart(path, offset, hash);
    let size = offset;
    await withFile(path, "a", async (file) => {
      for await (const chunk of untilAborted(chunks, signal)) {
        size += chunk.length;
        if (size > blob.size) break;
        hash.update(chunk);
        await onDisk(path, () => file.writeFile(chunk));
        await onDisk(path, async () => failpoint("server.chunk-written"));
      }
      if (size === blob.size) await sync(path, file);
    });
    if (size < blob.size) return;
    const got = hash.digest("hex");
    if (size === blob.size && got === blob.sha256) return publish(path, blob);
    await rm(path, { force: true });
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
    held: async (owner, hash) => (await sizeOf(partialOf(owner, hash))) ?? 0,
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
    bytes,
    async tensors(blob): Promise<SafetensorsFile> {
      await verify(blob);
      return openSafetensors(pathOf(blob.sha256));
    },
    look: async ({ sha256: hash }) => whole(hash, async (path) => openSafetensors(path)),
    path: ({ sha256: hash }) => pathOf(hash),
    async list() {
      const names = await readdir(directory, { recursive: true });
      return names.map((name) => name.slice(3)).filter((name) => SHA256_HEX.test(name));
    },
    async delete(hash) {
      sizes.delete(hash);
      await rm(pathOf(hash), { force: true });
    },
    async forget(owner) {
      const names = await readdir(partials);
      // Owners hold dots, hashes do not: the last dot parts the two.
      const own = names.filter((name) => name.slice(0, name.lastIndexOf(".")) === owner);
      await Promise.all(own.map((name) => rm(join(partials, name), { force: true })));
    },
  };
}

/** A blob's first `size` bytes, in parts no larger than the file: most blobs are small, and all of them are hashed. */
async function hashPart(path: string, size: number, hash: Hash): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(Math.max(size, 1), CHUNK_BYTES));
  await withFile(path, "r", async (file) => {
    for (let at = 0; at < size; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - at), at);
      if (bytesRead === 0) return;
      at += bytesRead;
      hash.update(buffer.subarray(0, bytesRead));
    }
  });
}

async function* chunksOf(path: string, offset: number): AsyncGenerator<Uint8Array> {
  const file = await open(path, "r");
  try {
    for (let at = offset; ; ) {
      // A fresh buffer each time: the one before may still be under way to a client.
      const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
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
