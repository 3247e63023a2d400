/**
 * Rows of float64 where the kernels reach them, and products of many of them with many: what long sums of factors are
 * computed with. The memory stays for the next use, since fresh pages cost as much as the arithmetic on them.
 */
import { instantiate, STRIDE } from "./kernels.ts";

export interface Rows {
  readonly count: number;
  readonly length: number;
  /** Where the first row begins and how far apart they are, in bytes. */
  readonly at: number;
  readonly stride: number;
  /** A view for now: whatever needs further memory may move all of it. */
  row(index: number): Float64Array;
  /** `count` of them from one on, the same memory. */
  part(from: number, count: number): Rows;
}

export interface RowSpace {
  /** Zeros. */
  rows(count: number, length: number): Rows;
  /** into[i][j] = ⟨x_i, y_j⟩ */
  inner(x: Rows, y: Rows, into: Rows): void;
  /** into[i][j] = ⟨x_i, x_j⟩, each product made once */
  gram(x: Rows, into: Rows): void;
  /** into_i += sign · Σ_j shares[i][j] x_j; `into` as it came from `rows`, no part */
  addCombinations(shares: Rows, x: Rows, into: Rows, sign?: 1 | -1): void;
  /** Gives up all rows. */
  clear(): void;
}

/** Columns that are worked on at once: four rows of them lie in the innermost cache. */
const COLUMNS = 512;
/** Rows of which so many columns lie in the next cache: 128 KiB. A multiple of 4. */
const ROWS = 32;
/** The kernels take two rows by four; what they read beyond the last one must be there. */
const SPARE_ROWS = 4;
/** Rows are not a power of two apart: they would fall into the same lines of the cache. */
const GAP_BYTES = 16;
const BLOCK_BYTES = 64;

export function createRowSpace(): RowSpace {
  const { memory, ...kernels } = instantiate(0);
  let top = 0;

  /** So many bytes behind all rows, for the time of one call. */
  const scratch = (bytes: number): number => {
    const missing = top + bytes - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 2 ** 16));
    return top;
  };
  const place = (at: number, stride: number, count: number, length: number): Rows => ({
    at,
    stride,
    count,
    length,
    row: (index) => new Float64Array(memory.buffer, at + index * stride, length),
    part: (from, some) => place(at + from * stride, stride, some, length),
  });
  const products = (x: Rows, y: Rows, into: Rows, isGram: boolean): void => {
    const across = Math.ceil(y.count / 4);
    const blocks = Math.ceil(x.count / 2) * across;
    const at = scratch(blocks * BLOCK_BYTES);
    const sums = new Float64Array(memory.buffer, at, blocks * 8).fill(0);
    const end = roundedUp(x.length, STRIDE);
    for (let from = 0; from < end; from += COLUMNS) {
      const bytes = 8 * Math.min(COLUMNS, end - from);
      for (let first = 0; first < x.count; first += ROWS) {
        const last = Math.min(x.count, first + ROWS);
        for (let j = isGram ? first : 0; j < y.count; j += 4) {
          const rowY = y.at + j * y.stride + from * 8;
          for (let i = first; i < (isGram ? Math.min(last, j + 4) : last); i += 2) {
            const rowX = x.at + i * x.stride + from * 8;
            const block = at + ((i >> 1) * across + (j >> 2)) * BLOCK_BYTES;
            kernels.dots(rowX, rowY, rowX + bytes, x.stride, y.stride, block);
          }
        }
      }
    }
    const sumAt = (i: number, j: number) => sums[((i >> 1) * across + (j >> 2)) * 8 + (i & 1) * 4 + (j & 3)]!;
    for (let i = 0; i < x.count; i++) {
      const row = into.row(i);
      for (let j = isGram ? i : 0; j < y.count; j++) row[j] = sumAt(i, j);
      for (let j = 0; isGram && j < i; j++) row[j] = sumAt(j, i);
    }
  };

  return {
    rows(count, length) {
      const stride = roundedUp(length, STRIDE) * 8 + GAP_BYTES;
      const bytes = (roundedUp(count, 4) + SPARE_ROWS) * stride;
      const at = scratch(bytes);
      new Uint8Array(memory.buffer, at, bytes).fill(0);
      top += bytes;
      return place(at, stride, count, length);
    },
    inner: (x, y, into) => products(x, y, into, false),
    gram: (x, into) => products(x, x, into, true),
    addCombinations(shares, x, into, sign = 1) {
      const pairs = Math.ceil(x.count / 2);
      const fours = Math.ceil(into.count / 4);
      const at = scratch(fours * pairs * BLOCK_BYTES);
      const packed = new Float64Array(memory.buffer, at, fours * pairs * 8).fill(0);
      for (let i = 0; i < into.count; i++) {
        const row = shares.row(i);
        for (let j = 0; j < x.count; j++) {
          packed[((i >> 2) * pairs + (j >> 1)) * 8 + (j & 1) * 4 + (i & 3)] = sign * row[j]!;
        }
      }
      const end = roundedUp(x.length, STRIDE);
      for (let from = 0; from < end; from += COLUMNS) {
        const bytes = 8 * Math.min(COLUMNS, end - from);
        for (let first = 0; first < pairs; first += ROWS / 2) {
          const last = Math.min(pairs, first + ROWS / 2);
          for (let i = 0; i < fours; i++) {
            const rowY = into.at + 4 * i * into.stride + from * 8;
            for (let j = first; j < last; j++) {
              const rowX = x.at + 2 * j * x.stride + from * 8;
              const block = at + (i * pairs + j) * BLOCK_BYTES;
              kernels.combine(rowY, rowX, rowX + bytes, into.stride, x.stride, block);
            }
          }
        }
      }
    },
    clear() {
      top = 0;
    },
  };
}

/** Scratch of this thread. Rules are synchronous, so that no two use it at once; whoever does clears it. */
export const scratchRows = createRowSpace();

function roundedUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
