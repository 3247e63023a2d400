/** Rules that look at one coordinate at a time, over all clients that sent it: the sorted values in, a number out. */
import { floats } from "../adapters/cast.ts";
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
  const values = updates.clients.flatMap((_, k) => {
    const sent = updates.tensor(k, name);
    return sent === undefined ? [] : [floats(sent)];
  });
  if (values.length === 0) return undefined;
  const result = new Float64Array(values[0]!.length);
  const column = new Float64Array(values.length);
  for (let i = 0; i < result.length; i++) {
    for (let k = 0; k < column.length; k++) column[k] = values[k]![i]!;
    sortSmall(column);
    result[i] = rule(column);
  }
  return result;
}

/** Insertion sort up to this length: the runtime's own sort costs more than it saves on so few. */
const SMALL = 48;

export function sortSmall(column: Float64Array): void {
  if (column.length > SMALL) {
    column.sort();
    return;
  }
  for (let i = 1; i < column.length; i++) {
    const value = column[i]!;
    let at = i - 1;
    while (at >= 0 && column[at]! > value) {
      column[at + 1] = column[at]!;
      at--;
    }
    column[at + 1] = value;
  }
}

/** The middle value; of an even number, the mean of the middle two. */
export function medianOf(ascending: Float64Array): number {
  const middle = ascending.length >> 1;
  return ascending.length % 2 === 1 ? ascending[middle]! : (ascending[middle - 1]! + ascending[middle]!) / 2;
}
