/**
 * What enters the lowest trained layer, kept by row (an example, or a picture of one): frozen layers see each once, however
 * many epochs and rounds train on it.
 *
 * A row's states are computed for it alone, at its own padded length, and not in the batch that first needs them: so they
 * have the same bits whatever stands beside it, and whether they are still kept or computed again, as after a restart.
 */
import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { float32 } from "../adapters/tensor.ts";
import { sha256 } from "../base/hash.ts";
import { createFeatureCache, type FeatureCache } from "./feature-cache.ts";
import type { Batch, Engine, Front } from "./onnx/engine.ts";

/** In memory: about 90 examples of 300 tokens of 576. The system's own cache of files holds more where there is room. */
const MEMORY_BYTES = 64 * 2 ** 20;
/** In the temporary folder: about 6,000 such examples, but never more than half of what is free. */
const DISK_BYTES = 4 * 2 ** 30;

/** For the states of one model's rows. What it has no room for is computed again in every epoch. */
export async function createFrontCache(): Promise<FeatureCache> {
  const free = await statfs(tmpdir()).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0, // memory is enough to go on with
  );
  return createFeatureCache(MEMORY_BYTES, Math.min(DISK_BYTES, free / 2));
}

/** Tokens where it is a sequence. */
type Lengthy = { readonly length: number };

export interface FrontStatesOptions<R extends Lengthy> {
  readonly engine: Pick<Engine, "front">;
  readonly cache: FeatureCache;
  /** A row alone, as a batch. */
  batchOf(row: R): Promise<Batch>;
  /** Equal for rows that the model cannot tell apart. */
  keyOf(row: R): string;
}

export class FrontStates<R extends Lengthy> {
  readonly #options: FrontStatesOptions<R>;
  /** Place, and the size of one position; null once it is known that there is none. */
  #found: { readonly place: string; readonly width: number } | null | undefined;

  constructor(options: FrontStatesOptions<R>) {
    this.#options = options;
  }

  /**
   * @param length padded length of the batch that the rows make; absent where they are no sequences
   * @returns undefined where too little of the model is frozen below
   */
  async of(rows: readonly R[], length?: number): Promise<Front | undefined> {
    if (this.#found === null) return undefined;
    const all: Float32Array[] = [];
    for (const row of rows) {
      const states = await this.#statesOf(row, length !== undefined);
      if (states === undefined) return undefined;
      all.push(states);
    }
    const { place, width } = this.#found!; // the first row's states told
    const positions = length ?? all[0]!.length / width;
    const data = new Float32Array(rows.length * positions * width);
    all.forEach((states, r) => {
      const [from, to] = [r * positions * width, (r + 1) * positions * width];
      data.set(states, from);
      // Behind padding stands the first token's value, which nothing reads: zeros may be NaN to a norm.
      for (let at = from + states.length; at < to; at += width) data.copyWithin(at, from, from + width);
    });
    return { place, states: float32([rows.length, positions, width], data) };
  }

  /** [T, H] flat, without padding. */
  async #statesOf(row: R, isSequence: boolean): Promise<Float32Array | undefined> {
    const { engine, cache, batchOf, keyOf } = this.#options;
    const known = this.#found && (await cache.get(`${this.#found.place} ${keyOf(row)}`));
    if (known) return known;
    const front = await engine.front(await batchOf(row));
    if (front === undefined) {
      this.#found ??= null;
      return undefined;
    }
    const { place, states } = front;
    const width = states.shape[2]!;
    this.#found ??= { place, width };
    const data = states.data as Float32Array; // F32
    const own = isSequence ? data.slice(0, row.length * width) : data;
    await cache.put(`${place} ${keyOf(row)}`, own);
    return own;
  }
}

/** Equal for rows of equal tokens, pictures and sounds. */
export function rowKey(
  ids: Int32Array,
  media: readonly { readonly kind: string; readonly key: string }[],
): string {
  const bytes = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
  return [sha256(bytes), ...media.map(({ kind, key }) => `${kind} ${key}`)].join(" ");
}
