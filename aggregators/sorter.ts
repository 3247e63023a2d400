/** Columns of many clients' values in ascending order, 32 columns at a time, by a sorting network. */
import { instantiate, readPartOf, STRIDE, TILE, TILE_BYTES } from "./kernels.ts";

export interface Sorter {
  /** Most elements of a part. */
  readonly part: number;
  /** Where a row's part is put. */
  row(index: number): Float32Array;
  /** Sorts the columns from `from` on; value k of column i is at [k * TILE + i]. The array is used again. */
  tile(from: number): Float32Array;
}

/** Not a power of two apart: rows that are would fall into the same lines of the cache. */
const GAP_BYTES = STRIDE * 4 * 3;

/** @param ranks first and last place that is asked for; what is not needed for them is left unsorted */
export function createSorter(rows: number, ranks: readonly [number, number] = [0, rows - 1]): Sorter {
  const part = Math.max(TILE, Math.floor(readPartOf(rows) / TILE) * TILE);
  const network = pruned(sortingNetwork(rows), rows, ranks);
  const table = rows * TILE_BYTES;
  const tableEnd = table + network.length * 8;
  const stride = part * 4 + GAP_BYTES;
  const kernels = instantiate(tableEnd + rows * stride);
  const { buffer } = kernels.memory;
  const places = network.flatMap(([low, high]) => [low * TILE_BYTES, high * TILE_BYTES]);
  new Int32Array(buffer, table, places.length).set(places);
  const views = Array.from(
    { length: rows },
    (_, index) => new Float32Array(buffer, tableEnd + index * stride, part),
  );
  const sorted = new Float32Array(buffer, 0, rows * TILE);
  return {
    part,
    row: (index) => views[index]!,
    tile(from) {
      kernels.gather(0, tableEnd + from * 4, table, stride);
      if (network.length > 0) kernels.sort(0, table, tableEnd);
      return sorted;
    },
  };
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

/** Without the exchanges that no wanted place depends on: those after which neither place is looked at again. */
function pruned(
  network: readonly (readonly [number, number])[],
  rows: number,
  [first, last]: readonly [number, number],
): readonly (readonly [number, number])[] {
  const wanted = Array.from({ length: rows }, (_, place) => place >= first && place <= last);
  return network
    .toReversed()
    .filter(([low, high]) => {
      const needed = wanted[low]! || wanted[high]!;
      if (needed) wanted[low] = wanted[high] = true;
      return needed;
    })
    .toReversed();
}
