/**
 * The blobs that everybody fetches, in memory: a round hands one adapter to all of its clients, and reading it from
 * disk for each of them costs more than sending it.
 */
import { CHUNK_BYTES } from "../../proto/channel.ts";
import type { BlobRef } from "../records.ts";

/** Blobs kept: adapter and configuration of a few runs side by side. Those of past rounds are asked for no more. */
const HOT_COUNT = 8;
/** Bytes kept in all; larger blobs are read from disk each time, so that memory stays bounded whatever is handed out. */
export const HOT_BYTES = 64 * 2 ** 20;

export class HotBlobs {
  readonly #load: (blob: BlobRef) => Promise<Uint8Array>;
  /** Least recently used first. */
  readonly #kept = new Map<string, { readonly size: number; readonly bytes: Promise<Uint8Array> }>();

  /** @param load the whole blob, its hash checked */
  constructor(load: (blob: BlobRef) => Promise<Uint8Array>) {
    this.#load = load;
  }

  fits({ size }: BlobRef): boolean {
    return size <= HOT_BYTES;
  }

  async *read(blob: BlobRef, offset: number): AsyncGenerator<Uint8Array> {
    const bytes = await this.#take(blob);
    for (let at = offset; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
  }

  /** All of it; not to be written into. */
  whole(blob: BlobRef): Promise<Uint8Array> {
    return this.#take(blob);
  }

  #take(blob: BlobRef): Promise<Uint8Array> {
    const { sha256, size } = blob;
    const bytes = this.#kept.get(sha256)?.bytes ?? this.#load(blob);
    this.#kept.delete(sha256);
    this.#kept.set(sha256, { size, bytes });
    bytes.catch(() => this.#kept.delete(sha256));
    let total = 0;
    for (const kept of this.#kept.values()) total += kept.size;
    for (const [oldest, kept] of this.#kept) {
      if (total <= HOT_BYTES && this.#kept.size <= HOT_COUNT) break;
      total -= kept.size;
      this.#kept.delete(oldest);
    }
    return bytes;
  }
}
