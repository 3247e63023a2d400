/**
 * Where the whole blobs of a process without a state directory lie: what is handed out in memory, and what came back,
 * which is read a piece at a time, in a spool where there is one.
 */
import { readerAt, type SafetensorsFile, viewSafetensors } from "../../adapters/safetensors.ts";
import { createHeaderReader } from "../../adapters/safetensors-header.ts";
import { sha256 } from "../../base/hash.ts";
import type { Spool } from "../../base/spool.ts";
import { CHUNK_BYTES } from "../../proto/channel.ts";
import type { BlobRef } from "../records.ts";
import { missingBlob } from "./refusals.ts";
import { finiteWords, type Spooled, SpoolThread } from "./spool-thread.ts";

/** Smaller ones stay in memory: they are many, and a call of the system costs more than their bytes. */
const SPOOLED_BYTES = 64 * 2 ** 10;

export class Shelf {
  readonly #spool: Spool | undefined;
  readonly #thread: SpoolThread | undefined;
  readonly #blobs = new Map<string, Uint8Array | Spooled>();
  readonly #headerOf = createHeaderReader();

  /**
   * @param thread whether a thread may hash and write what is stored, while this one goes on. Blobs are then not whole in
   *   the order in which they were stored
   */
  constructor(spool?: Spool, { thread = false }: { readonly thread?: boolean } = {}) {
    this.#spool = spool;
    this.#thread = spool !== undefined && thread ? new SpoolThread(spool) : undefined;
  }

  /** Bytes of a whole blob; undefined where it is not there. */
  size(hash: string): number | undefined {
    const found = this.#blobs.get(hash);
    return found instanceof Uint8Array ? found.length : found?.extent.size;
  }

  /** Takes a blob in that all may read often. It is not copied: who gives it leaves it alone. */
  keep(bytes: Uint8Array): BlobRef {
    const hash = sha256(bytes);
    if (!this.#blobs.has(hash)) this.#blobs.set(hash, bytes);
    return { sha256: hash, size: bytes.length };
  }

  /**
   * Takes a blob in that is read once or twice, from pieces that are the caller's again at once.
   *
   * @throws FedloomError F4004 where the spool's disk refuses; nothing is then kept
   */
  async store(pieces: readonly Uint8Array[]): Promise<BlobRef> {
    const size = pieces.reduce((sum, { length }) => sum + length, 0);
    if (this.#spool === undefined || size < SPOOLED_BYTES) return this.keep(Buffer.concat(pieces));
    const elsewhere = this.#thread?.write(pieces, size);
    if (elsewhere === undefined) {
      const hash = sha256(...pieces);
      if (!this.#blobs.has(hash)) {
        const extent = this.#spool.write(pieces);
        this.#blobs.set(hash, { sha256: hash, extent, finite: finiteWords(pieces) });
      }
      return { sha256: hash, size };
    }
    const spooled = await elsewhere;
    // Equal bytes lie there once; the thread wrote these before it knew their hash.
    if (this.#blobs.has(spooled.sha256)) this.#spool.free(spooled.extent);
    else this.#blobs.set(spooled.sha256, spooled);
    return { sha256: spooled.sha256, size };
  }

  /** @throws FedloomError F4005 if the blob is missing */
  bytes(hash: string): Uint8Array {
    const found = this.#find(hash);
    if (found instanceof Uint8Array) return found;
    const bytes = new Uint8Array(found.extent.size);
    this.#spool!.read(found.extent, 0, bytes);
    return bytes;
  }

  /** @throws FedloomError F4005 if the blob is missing */
  *chunks(hash: string, offset: number): Generator<Uint8Array> {
    const found = this.#find(hash);
    const size = this.size(hash)!;
    for (let at = offset; at < size; at += CHUNK_BYTES) {
      if (found instanceof Uint8Array) yield found.subarray(at, at + CHUNK_BYTES);
      else {
        const chunk = new Uint8Array(Math.min(CHUNK_BYTES, size - at));
        this.#spool!.read(found.extent, at, chunk);
        yield chunk;
      }
    }
  }

  /** A safetensors blob, to be read tensor by tensor. @throws FedloomError F4005 if it is missing, F3001 if it is none */
  tensors(hash: string, what: string): SafetensorsFile {
    const found = this.#find(hash);
    if (found instanceof Uint8Array) return viewSafetensors(found, what, this.#headerOf);
    const { extent, finite } = found;
    const fill = (target: Uint8Array, at: number): void => this.#spool!.read(extent, at, target);
    return readerAt(extent.size, fill, what, { headerOf: this.#headerOf, finiteWords: finite });
  }

  hashes(): string[] {
    return [...this.#blobs.keys()];
  }

  delete(hash: string): void {
    const found = this.#blobs.get(hash);
    if (found !== undefined && !(found instanceof Uint8Array)) this.#spool!.free(found.extent);
    this.#blobs.delete(hash);
  }

  async close(): Promise<void> {
    this.#blobs.clear();
    await this.#thread?.close(); // it writes to the spool's file
    this.#spool?.close();
  }

  #find(hash: string): Uint8Array | Spooled {
    const found = this.#blobs.get(hash);
    if (found === undefined) throw missingBlob(hash);
    return found;
  }
}
