/**
 * Where the whole blobs of a process without a state directory lie: what is handed out in memory, and what came back,
 * which is read a piece at a time, in a spool where there is one.
 */
import { readerAt, type SafetensorsFile, viewSafetensors } from "../../adapters/safetensors.ts";
import { createHeaderReader } from "../../adapters/safetensors-header.ts";
import { sha256 } from "../../base/hash.ts";
import { Extent, type Spool } from "../../base/spool.ts";
import { CHUNK_BYTES } from "../../proto/channel.ts";
import type { BlobRef } from "../records.ts";
import { missingBlob } from "./refusals.ts";

/** Smaller ones stay in memory: they are many, and a call of the system costs more than their bytes. */
const SPOOLED_BYTES = 64 * 2 ** 10;

export class Shelf {
  readonly #spool: Spool | undefined;
  readonly #blobs = new Map<string, Uint8Array | Extent>();
  readonly #headerOf = createHeaderReader();

  constructor(spool?: Spool) {
    this.#spool = spool;
  }

  /** Bytes of a whole blob; undefined where it is not there. */
  size(hash: string): number | undefined {
    const found = this.#blobs.get(hash);
    return found instanceof Extent ? found.size : found?.length;
  }

  /** Takes a blob in that all may read often. It is not copied: who gives it leaves it alone. */
  keep(bytes: Uint8Array): BlobRef {
    const hash = sha256(bytes);
    if (!this.#blobs.has(hash)) this.#blobs.set(hash, bytes);
    return { sha256: hash, size: bytes.length };
  }

  /** Takes a blob in that is read once or twice, from pieces that are the caller's again afterwards. */
  store(pieces: readonly Uint8Array[]): BlobRef {
    const size = pieces.reduce((sum, { length }) => sum + length, 0);
    const hash = sha256(...pieces);
    if (this.size(hash) === undefined) {
      const spooled = this.#spool !== undefined && size >= SPOOLED_BYTES;
      this.#blobs.set(hash, spooled ? this.#spool.write(pieces) : Buffer.concat(pieces));
    }
    return { sha256: hash, size };
  }

  /** @throws FedloomError F4005 if the blob is missing */
  bytes(hash: string): Uint8Array {
    const found = this.#find(hash);
    if (!(found instanceof Extent)) return found;
    const bytes = new Uint8Array(found.size);
    this.#spool!.read(found, 0, bytes);
    return bytes;
  }

  /** @throws FedloomError F4005 if the blob is missing */
  *chunks(hash: string, offset: number): Generator<Uint8Array> {
    const found = this.#find(hash);
    const size = this.size(hash)!;
    for (let at = offset; at < size; at += CHUNK_BYTES) {
      if (!(found instanceof Extent)) yield found.subarray(at, at + CHUNK_BYTES);
      else {
        const chunk = new Uint8Array(Math.min(CHUNK_BYTES, size - at));
        this.#spool!.read(found, at, chunk);
        yield chunk;
      }
    }
  }

  /** A safetensors blob, to be read tensor by tensor. @throws FedloomError F4005 if it is missing, F3001 if it is none */
  tensors(hash: string, what: string): SafetensorsFile {
    const found = this.#find(hash);
    if (!(found instanceof Extent)) return viewSafetensors(found, what, this.#headerOf);
    const fill = (target: Uint8Array, at: number): void => this.#spool!.read(found, at, target);
    return readerAt(found.size, fill, what, this.#headerOf);
  }

  hashes(): string[] {
    return [...this.#blobs.keys()];
  }

  delete(hash: string): void {
    const found = this.#blobs.get(hash);
    if (found instanceof Extent) this.#spool!.free(found);
    this.#blobs.delete(hash);
  }

  close(): void {
    this.#blobs.clear();
    this.#spool?.close();
  }

  #find(hash: string): Uint8Array | Extent {
    const found = this.#blobs.get(hash);
    if (found === undefined) throw missingBlob(hash);
    return found;
  }
}
