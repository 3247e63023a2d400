/** Inner products of rows with rows, in float64, from parts that lie in the cache together. */
import { instantiate, type KernelExports, partOf, readPartOf, STRIDE } from "./kernels.ts";

export interface Gram {
  /** Most elements of a part. */
  readonly part: number;
  /** Where a row's part, or the center's, is put before `addDifferences`. */
  row(index: number): Float32Array;
  readonly center: Float32Array;
  /** Adds the inner products of (row − center), over the first `length` elements of the part. */
  addDifferences(length: number): void;
  /** ⟨x_i, x_j⟩ so far, for i ≤ j; symmetric by `at`. */
  at(i: number, j: number): number;
}

/** Where tiles of float64 rows and the sums of their 2 x 4 blocks lie. */
function layoutOf(rows: number, most: number) {
  const height = Math.ceil(rows / 4) * 4;
  const blocks = (height / 2) * (height / 4);
  const tile = Math.min(most, partOf(height));
  const tileAt = blocks * 64;
  const tileBytes = tile * 8 + 16; // not a power of two apart
  return { height, blocks, tile, tileAt, tileBytes, end: tileAt + height * tileBytes };
}

type Layout = ReturnType<typeof layoutOf>;

/** Adds the products of the tile's first `count` columns, a multiple of 8, for i ≤ j. */
function addTile(
  kernels: KernelExports,
  rows: number,
  { height, tileAt, tileBytes }: Layout,
  count: number,
): void {
  for (let i = 0; i < rows; i += 2) {
    const x = tileAt + i * tileBytes;
    for (let j = i & ~3; j < rows; j += 4) {
      const block = (i >> 1) * (height / 4) + (j >> 2);
      kernels.dots(x, tileAt + j * tileBytes, x + count * 8, tileBytes, tileBytes, block * 64);
    }
  }
}

function sumOf(sums: Float64Array, { height }: Layout, i: number, j: number): number {
  const [low, high] = i <= j ? [i, j] : [j, i];
  return sums[((low >> 1) * (height / 4) + (high >> 2)) * 8 + (low & 1) * 4 + (high & 3)]!;
}

/** @param rows of float32; each sum runs in the same order, so that equal rows have equal products */
export function createGram(rows: number): Gram {
  const part = readPartOf(rows);
  const layout = layoutOf(rows, part);
  const { blocks, tile, tileAt, tileBytes, end: rowsAt } = layout;
  const rowBytes = part * 4;
  const centerAt = rowsAt + rows * rowBytes;
  const kernels = instantiate(centerAt + rowBytes);
  const { buffer } = kernels.memory;
  const sums = new Float64Array(buffer, 0, blocks * 8);
  const views = Array.from({ length: rows }, (_, i) => new Float32Array(buffer, rowsAt + i * rowBytes, part));
  const center = new Float32Array(buffer, centerAt, part);
  return {
    part,
    row: (index) => views[index]!,
    center,
    addDifferences(length) {
      const padded = Math.ceil(length / STRIDE) * STRIDE;
      if (padded > length) for (const view of [...views, center]) view.fill(0, length, padded);
      for (let from = 0; from < padded; from += tile) {
        const count = Math.min(tile, padded - from);
        for (let i = 0; i < rows; i++) {
          const x = rowsAt + i * rowBytes + from * 4;
          kernels.spread(tileAt + i * tileBytes, x, x + count * 4, centerAt + from * 4);
        }
        addTile(kernels, rows, layout, count);
      }
    },
    at: (i, j) => sumOf(sums, layout, i, j),
  };
}
