/** Rules that look at one coordinate at a time, over all clients that sent it: the sorted values in, a number out. */
import { floats } from "../adapters/cast.ts";
import { sizeOf } from "../adapters/tensor.ts";
import { createKernels, partOf } from "./kernels.ts";
import { canSlice, havingTensor } from "./parts.ts";
import type { Updates } from "./strategy.ts";

/**
 * @param rule is given the clients' values of one coordinate in ascending order; the array is used again
 * @returns undefined where no client has the tensor
 */
export function coordinatewise(
  updates: Updates,
  name: string,
  rule: (ascending: Float64Array) => number,
): Float64Array | undefined {
  const present = havingTensor(updates, name);
  const [first] = present;
  if (first === undefined) return undefined;
  const result = new Float64Array(sizeOf(updates.shape(first, name)));
  const column = new Float64Array(present.length);
  if (!canSlice(updates, present, name)) {
    const values = present.map((k) => floats(updates.tensor(k, name)!));
    for (let i = 0; i < result.length; i++) {
      for (let k = 0; k < column.length; k++) column[k] = values[k]![i]!;
      result[i] = rule(column.sort());
    }
    return result;
  }
  // All coordinates of a part are sorted at once: the network's exchanges are vector instructions.
  const part = partOf(present.length);
  const kernels = createKernels(present.length, part);
  const network = sortingNetwork(present.length);
  for (let from = 0; from < result.length; from += part) {
    const length = Math.min(part, result.length - from);
    const rows = present.map((k, at) => {
      const row = kernels.slot(at, length);
      updates.slice!(k, name, from, row);
      return row;
    });
    for (const [low, high] of network) kernels.exchange(low, high, length);
    for (let i = 0; i < length; i++) {
      for (let k = 0; k < column.length; k++) column[k] = rows[k]![i]!;
      result[from + i] = rule(column);
    }
  }
  return result;
}

/**
 * Pairs of places whose exchange, one after the other, sorts any `count` values in ascending order.
 *
 * Batcher's merge exchange: Knuth, The Art of Computer Programming, volume 3, section 5.2.2, algorithm M
 */
export function sortingNetwork(count: number): (readonly [number, number])[] {
  const pairs: (readonly [number, number])[] = [];
  const top = count < 2 ? 0 : 2 ** (Math.ceil(Math.log2(count)) - 1);
  for (let p = top; p > 0; p = p >> 1) {
    let q = top;
    let r = 0;
    let d = p;
    for (;;) {
      for (let i = 0; i < count - d; i++) if ((i & p) === r) pairs.push([i, i + d]);
      if (q === p) break;
      d = q - p;
      q = q >> 1;
      r = p;
    }
  }
  return pairs;
}

/** The middle value; of an even number, the mean of the middle two. */
export function medianOf(ascending: Float64Array): number {
  const middle = ascending.length >> 1;
  return ascending.length % 2 === 1 ? ascending[middle]! : (ascending[middle - 1]! + ascending[middle]!) / 2;
}
