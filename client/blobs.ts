/**
 * The client's own blobs: fetched ones, so that none is fetched twice, and finished updates until the coordinator
 * has them. Each lies under its SHA-256; what is read whole is checked against it.
 */
import { createHash, type Hash } from "node:crypto";
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile, syncDirectory } from "../adapters/durable-file.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import { SHA256_HEX } from "../base/hash.ts";
import { CHUNK_BYTES } from "../proto/channel.ts";

/** What names a blob: BlobRef of the wire with a plain number; no blob comes near 2^53 bytes. */
export interface BlobName {
  readonly sha256: string;
  readonly size: number;
}

export interface ClientBlobs {
  has(blob: BlobName): boolean;
  /** The whole blob. @throws FedloomError F5106 if it is damaged; it is then gone from the store */
  read(blob: BlobName): Uint8Array;
  /** Chunks from `offset` on, unchecked: the receiver checks the whole. */
  chunks(blob: BlobName, offset: number): AsyncIterable<Uint8Array>;
  /** Stores what `fill` writes; when this returns, a crash cannot lose it. */
  write(fill: (write: (bytes: Uint8Array) => void) => void): Promise<BlobName>;
  /** Takes a blob in piece by piece, going on where an earlier attempt ended. */
  receive(blob: BlobName): Promise<Receiver>;
  /** Forgets what was used longest ago, and never what is in `needed`. */
  prune(needed: ReadonlySet<string>): void;
}

export interface Receiver {
  /** Bytes there already. */
  readonly offset: number;
  append(bytes: Uint8Array): Promise<void>;
  /** @throws FedloomError F5106 unless the bytes have the hash they should have; they are then gone */
  finish(): Promise<void>;
  /** Keeps what came for the next attempt. */
  suspend(): Promise<void>;
}

/** Kept beside those in use: the adapters of this round and of the one before, should they be handed out again. */
const SPARE_BLOBS = 8;

export function openDiskBlobs(directory: string): ClientBlobs {
  mkdirSync(directory, { recursive: true });
  const pathOf = ({ sha256 }: BlobName): string => {
    if (!SHA256_HEX.test(sha256)) throw new TypeError(`A blob is named by a SHA-256, got "${sha256}"`);
    return join(directory, sha256);
  };

  return {
    has: (blob) => existsSync(pathOf(blob)) && statSync(pathOf(blob)).size === blob.size,

    read(blob) {
      const path = pathOf(blob);
      const bytes = existsSync(path) ? readFileSync(path) : new Uint8Array();
      checkBlob(blob, bytes.length, createHash("sha256").update(bytes), () => rmSync(path, { force: true }));
      const now = new Date();
      utimesSync(path, now, now); // prune() goes by it
      return bytes;
    },

    chunks: (blob, offset) =>
      createReadStream(pathOf(blob), { start: offset, highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>,

    async write(fill) {
      const fresh = join(directory, "fresh");
      try {
        failpoint("client.blob-write");
        const { bytes, sha256 } = replaceFile(fresh, fill);
        renameSync(fresh, join(directory, sha256));
        syncDirectory(directory);
        return { sha256, size: bytes };
      } catch (cause) {
        throw cannotWrite(fresh, cause);
      }
    },

    async receive(blob) {
      const path = pathOf(blob);
      const partial = `${path}.part`;
      const file = await open(partial, "a+").catch((cause: unknown) => {
        throw cannotWrite(partial, cause);
      });
      try {
        return await resumePartial(blob, file, partial, path);
      } catch (error) {
        await file.close();
        throw error;
      }
    },

    prune(needed) {
      const unneeded = readdirSync(directory)
        .filter((name) => !needed.has(name.slice(0, 64)))
        .map((name) => ({ path: join(directory, name), usedMs: statSync(join(directory, name)).mtimeMs }))
        .sort((a, b) => b.usedMs - a.usedMs);
      for (const { path } of unneeded.slice(SPARE_BLOBS)) rmSync(path, { force: true });
    },
  };
}

async function resumePartial(
  blob: BlobName,
  file: FileHandle,
  partial: string,
  path: string,
): Promise<Receiver> {
  let hash = createHash("sha256");
  let { size } = await file.stat();
  if (size > blob.size) {
    await file.truncate(0);
    size = 0;
  } else {
    const held = file.createReadStream({ start: 0, autoClose: false, highWaterMark: CHUNK_BYTES });
    for await (const chunk of held) hash = hash.update(chunk as Buffer);
  }
  const start = size;
  return {
    offset: start,
    async append(bytes) {
      try {
        failpoint("client.blob-append");
        await file.appendFile(bytes);
      } catch (cause) {
        throw cannotWrite(partial, cause);
      }
      hash.update(bytes);
      size += bytes.length;
      failpoint("client.chunk-fetched");
    },
    async finish() {
      await file.close();
      checkBlob(blob, size, hash, () => rmSync(partial));
      renameSync(partial, path);
      failpoint("client.blob-fetched");
    },
    suspend: () => file.close(),
  };
}

/** Blobs in memory, for simulated clients; only those in use stay. */
export function createMemoryBlobs(): ClientBlobs {
  const blobs = new Map<string, Uint8Array>();
  const put = (bytes: Uint8Array): BlobName => {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    blobs.set(sha256, bytes);
    return { sha256, size: bytes.length };
  };
  return {
    has: ({ sha256 }) => blobs.has(sha256),
    read({ sha256 }) {
      const bytes = blobs.get(sha256);
      if (bytes === undefined) throw new TypeError(`There is no blob ${sha256}`);
      return bytes;
    },
    async *chunks(blob, offset) {
      const bytes = this.read(blob);
      for (let at = offset; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
    },
    async write(fill) {
      const pieces: Uint8Array[] = [];
      fill((bytes) => pieces.push(bytes.slice()));
      return put(Buffer.concat(pieces));
    },
    receive: async (blob) => receiveInMemory(blob, put),
    prune(needed) {
      for (const name of blobs.keys()) if (!needed.has(name)) blobs.delete(name);
    },
  };
}

/** A transfer that begins anew whenever it is cut off: its bytes are kept once they are whole, and nowhere before. */
export function receiveInMemory(blob: BlobName, keep: (bytes: Uint8Array) => void): Receiver {
  const pieces: Uint8Array[] = [];
  return {
    offset: 0,
    async append(bytes) {
      pieces.push(bytes.slice());
    },
    async finish() {
      const bytes = Buffer.concat(pieces);
      checkBlob(blob, bytes.length, createHash("sha256").update(bytes), () => {});
      keep(bytes);
    },
    async suspend() {},
  };
}

/** Whether a blob is there and has its hash; reads it chunk by chunk. */
export async function isIntact(blobs: ClientBlobs, blob: BlobName): Promise<boolean> {
  if (!blobs.has(blob)) return false;
  const hash = createHash("sha256");
  for await (const chunk of blobs.chunks(blob, 0)) hash.update(chunk);
  return hash.digest("hex") === blob.sha256;
}

/**
 * @param forget called before the refusal
 * @throws FedloomError F5106 unless the bytes are the blob's
 */
export function checkBlob(blob: BlobName, size: number, hash: Hash, forget: () => void): void {
  const sha256 = hash.digest("hex");
  if (size === blob.size && sha256 === blob.sha256) return;
  forget();
  throw new FedloomError(
    "F5106",
    `Cannot use blob ${blob.sha256}: wanted ${blob.size} bytes of that hash, got ${size} bytes with ${sha256}`,
    { wanted: blob.sha256, got: sha256, size },
  );
}

function cannotWrite(path: string, cause: unknown): FedloomError {
  return new FedloomError("F5107", `Cannot write "${path}": ${messageOf(cause)}`, { path }, { cause });
}
