/**
 * Bytes by their SHA-256: adapters, updates, strategy states.
 *
 *  1. A blob that `size` knows is whole and was hashed; it is on disk before `put`, `write` and `receive` resolve.
 *  2. What `bytes` and `tensors` give was hashed again: a bit that flipped on disk throws (F4005) and reaches nobody.
 *  3. An unfinished upload belongs to one owner; nobody else's bytes are mixed with it.
 */
import type { SafetensorsFile } from "../../adapters/safetensors.ts";
import type { BlobRef } from "../records.ts";

export interface Blobs {
  /** Bytes of a whole blob; undefined where it is not there. */
  size(sha256: string): Promise<number | undefined>;
  put(bytes: Uint8Array): Promise<BlobRef>;
  /** As `put`, of bytes that are never all in memory. What `fill` throws is thrown, and nothing remains. */
  write(fill: (write: (bytes: Uint8Array) => Promise<void>) => Promise<void>): Promise<BlobRef>;
  /** Bytes that an unfinished upload holds. */
  held(owner: string, sha256: string): Promise<number>;
  /**
   * Takes up an upload at `offset`, which `held` gave. If the source ends early or throws, what came stays held.
   *
   * @throws FedloomError F5005 where offset or length do not fit, F5010 where the whole has another hash (the upload
   * is then forgotten), F4004 where the disk refuses
   */
  receive(owner: string, blob: BlobRef, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<void>;
  /**
   * A blob's bytes from an offset on, in chunks; a chunk is there until the next is asked for. Whoever reads a part checks
   * the whole.
   *
   * @throws FedloomError F4005 if it is missing
   */
  read(sha256: string, offset: number): AsyncIterable<Uint8Array>;
  /** @throws FedloomError F4005 where the blob is missing or damaged */
  bytes(blob: BlobRef): Promise<Uint8Array>;
  /** A safetensors blob, open for reading tensor by tensor. @throws FedloomError F4005, and F3001 for one that is none */
  tensors(blob: BlobRef, what: string): Promise<SafetensorsFile>;
  /** As `tensors`, without hashing: for a look that only ever refuses, right after the upload was hashed. */
  look(blob: BlobRef, what: string): Promise<SafetensorsFile>;
  /** Path of a blob, where blobs are local files; whoever makes anything of it hashes it first. */
  path?(blob: BlobRef): string;
  list(): Promise<readonly string[]>;
  delete(sha256: string): Promise<void>;
  /** Forgets unfinished uploads of an owner. */
  forget(owner: string): Promise<void>;
}
