/** Rules that look at one coordinate at a time, over all clients that sent it: the sorted values in, a number out. */
import { floats } from "../adapters/cast.ts";
import { sizeOf } from "../adapters/tensor.ts";
import { TILE } from "./kernels.ts";
import { canSlice, havingTensor } from "./parts.ts";
import { createSorter } from "./sorter.ts";
import type { Updates } from "./strategy.ts";

/** A number made from the ascending values of one coordinate. */
export interface CoordinateRule {
  /** First and last place among n values that the rule looks at. */
  ranks(n: number): readonly [number, number];
  /** @param ascending the values in those places; the array is used again */
  of(ascending: Float64Array): number;
  /** The same for `columns` coordinates at once: place k of column i is at [k * TILE + i]. Results go to `to`, from 0 on. */
  tile?(sorted: Float32Array, n: number, columns: number, to: Float64Array): void;
}

/** @returns undefined where no client has the tensor */
export function coordinatewise(
  updates: Updates,
  name: string,
  rule: CoordinateRule,
): Float64Array | undefined {
  const present = havingTensor(updates, name);
  const [first] = present;
  if (first === undefined) return undefined;
  const result = new Float64Array(sizeOf(updates.shape(first, name)));
  const [low, high] = rule.ranks(present.length);
  const wanted = new Float64Array(high - low + 1);
  if (!canSlice(updates, present, name)) {
    const values = present.map((k) => floats(updates.tensor(k, name)!));
    const column = new Float64Array(present.length);
    for (let i = 0; i < result.length; i++) {
      for (let k = 0; k < column.length; k++) column[k] = values[k]![i]! + 0; // one zero, not two
      wanted.set(column.sort().subarray(low, high + 1));
      result[i] = rule.of(wanted);
    }
    return result;
  }
  // Many coordinates are sorted at once: the network's exchanges are vector instructions.
  const sorter = sorterOf(present.length, low, high);
  const results = new Float64Array(TILE);
  for (let from = 0; from < result.length; from += sorter.part) {
    const length = Math.min(sorter.part, result.length - from);
    for (const [at, k] of present.entries()) {
      updates.slice!(k, name, from, sorter.row(at).subarray(0, length));
    }
    for (let start = 0; start < length; start += TILE) {
      const sorted = sorter.tile(start);
      const columns = Math.min(TILE, length - start);
      if (rule.tile !== undefined) {
        rule.tile(sorted, present.length, columns, results);
        result.set(columns === TILE ? results : results.subarray(0, columns), from + start);
        continue;
      }
      for (let i = 0; i < columns; i++) {
        for (let k = 0; k < wanted.length; k++) wanted[k] = sorted[(low + k) * TILE + i]! + 0;
        result[from + start + i] = rule.of(wanted);
      }
    }
  }
  return result;
}

/** The one used last, since a round asks for the same one tensor after tensor. */
let last: { readonly key: string; readonly sorter: ReturnType<typeof createSorter> } | undefined;

function sorterOf(rows: number, low: number, high: number): ReturnType<typeof createSorter> {
  const key = `${rows} ${low} ${high}`;
  if (last?.key !== key) last = { key, sorter: createSorter(rows, [low, high]) };
  return last.sorter;
}

/** The middle value; of an even number, the mean of the middle two. */
export const MEDIAN: CoordinateRule = {
  ranks: (n) => [(n - 1) >> 1, n >> 1],
  of: (middle) => (middle[0]! + middle[middle.length - 1]!) / 2,
  tile(sorted, n, columns, to) {
    const [low, high] = [((n - 1) >> 1) * TILE, (n >> 1) * TILE];
    for (let i = 0; i < columns; i++) to[i] = (sorted[low + i]! + sorted[high + i]!) / 2 + 0;
  },
};

/** The middle of values that are all at hand. */
export function medianOf(ascending: Float64Array): number {
  const [low, high] = MEDIAN.ranks(ascending.length);
  return low === high ? ascending[low]! : (ascending[low]! + ascending[high]!) / 2;
}
