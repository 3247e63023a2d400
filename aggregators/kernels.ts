/**
 * The inner loops that a round's speed hangs on, in WebAssembly with vector instructions: JavaScript has none, and its
 * loop over float32 parts is four times slower.
 *
 *   add, addFour   sum[i] += share · x[i], for one x or for four of them one after the other; each product rounded once
 *   round          out[i] = float32 of sum[i]
 *   spread         d[i] = x[i] − c[i] in float64
 *   dots           the eight inner products of two rows with four, in float64
 *   combine        four rows += their shares of two others, in float64
 *   gather, sort   a tile of columns, and all compare-exchanges of a sorting network on it
 *
 * They give the same bits wherever they run: no fused multiply-add, a fixed order of lanes.
 */
import * as wasm from "./wasm-assembler.ts";

const { get, set, tee, ADD, MUL, SUB, I32, F64, V128 } = wasm;

/** Elements that the loops take at a time; lengths are rounded up to it and padded with zeros. */
export const STRIDE = 8;

/** Elements of a part that is read at once: its float64 sum and four clients' values lie in 384 KiB. */
export const PART = 2 ** 14;

/** Elements of a part where the float64 parts of `rows` clients must lie in the cache together: 1 MiB of them. */
export function partOf(rows: number): number {
  return roundedDown(2 ** 17 / rows);
}

/** Elements of a part where those of `rows` clients lie in memory together: 16 MiB of float32. */
export function readPartOf(rows: number): number {
  return roundedDown(2 ** 22 / rows);
}

function roundedDown(elements: number): number {
  return Math.max(STRIDE, Math.min(PART, Math.floor(elements / STRIDE) * STRIDE));
}

/** Columns that are sorted at once: 128 bytes of each row, so that 250 rows lie in the innermost cache. */
export const TILE = 32;
export const TILE_BYTES = 4 * TILE;

const LANES = [0, 1, 2, 3];
const PARTS = [0, 16, 32, 48, 64, 80, 96, 112];

/** What the module exports; all numbers but shares are byte addresses. */
export interface KernelExports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  add(sum: number, x: number, end: number, share: number): void;
  addFour(
    sum: number,
    x: number,
    end: number,
    stride: number,
    a: number,
    b: number,
    c: number,
    d: number,
  ): void;
  round(sum: number, end: number, out: number): void;
  spread(target: number, x: number, end: number, center: number): void;
  dots(x: number, y: number, end: number, strideX: number, strideY: number, out: number): void;
  combine(y: number, x: number, end: number, strideY: number, strideX: number, shares: number): void;
  gather(target: number, rows: number, end: number, stride: number): void;
  sort(tile: number, table: number, end: number): void;
}

/** (sum, x, end, share): 4 holds share in both lanes. */
const add: wasm.WasmFunction = {
  name: "add",
  parameters: [I32, I32, I32, F64],
  locals: [[1, V128]],
  body: [
    ...[...get(3), ...wasm.SPLAT_F64, ...set(4)],
    ...wasm.repeat(
      [
        ...LANES.flatMap((lane) => [
          ...[...get(0), ...get(0), ...wasm.loadVector(lane * 16)],
          ...[...wasm.loadPromoted(1, lane * 8), ...get(4), ...MUL, ...ADD],
          ...wasm.storeVector(lane * 16),
        ]),
        ...wasm.advance(0, STRIDE * 8),
        ...wasm.advance(1, STRIDE * 4),
      ],
      1,
      2,
    ),
  ],
};

/** (sum, x, end, stride, a, b, c, d): 8 to 10 point to the other three, 11 to 14 hold the shares. */
const addFour: wasm.WasmFunction = {
  name: "addFour",
  parameters: [I32, I32, I32, I32, F64, F64, F64, F64],
  locals: [
    [3, I32],
    [4, V128],
  ],
  body: [
    ...[1, 8, 9].flatMap((before, at) => [...get(before), ...get(3), ...wasm.ADD_I32, ...set(8 + at)]),
    ...LANES.flatMap((at) => [...get(4 + at), ...wasm.SPLAT_F64, ...set(11 + at)]),
    ...wasm.repeat(
      [
        ...LANES.flatMap((lane) => [
          ...[...get(0), ...get(0), ...wasm.loadVector(lane * 16)],
          ...[1, 8, 9, 10].flatMap((pointer, at) => [
            ...[...wasm.loadPromoted(pointer, lane * 8), ...get(11 + at), ...MUL, ...ADD],
          ]),
          ...wasm.storeVector(lane * 16),
        ]),
        ...wasm.advance(0, STRIDE * 8),
        ...[1, 8, 9, 10].flatMap((pointer) => wasm.advance(pointer, STRIDE * 4)),
      ],
      1,
      2,
    ),
  ],
};

/** (sum, end, out) */
const round: wasm.WasmFunction = {
  name: "round",
  parameters: [I32, I32, I32],
  locals: [],
  body: wasm.repeat(
    [
      ...LANES.flatMap((lane) => [
        ...[...get(2), ...get(0), ...wasm.loadVector(lane * 16), ...wasm.DEMOTE, ...wasm.storeLow(lane * 8)],
      ]),
      ...wasm.advance(0, STRIDE * 8),
      ...wasm.advance(2, STRIDE * 4),
    ],
    0,
    1,
  ),
};

/** (target, x, end, center) */
const spread: wasm.WasmFunction = {
  name: "spread",
  parameters: [I32, I32, I32, I32],
  locals: [],
  body: wasm.repeat(
    [
      ...LANES.flatMap((lane) => [
        ...[...get(0), ...wasm.loadPromoted(1, lane * 8), ...wasm.loadPromoted(3, lane * 8), ...SUB],
        ...wasm.storeVector(lane * 16),
      ]),
      ...wasm.advance(0, STRIDE * 8),
      ...wasm.advance(1, STRIDE * 4),
      ...wasm.advance(3, STRIDE * 4),
    ],
    1,
    2,
  ),
};

/**
 * (x, y, end, strideX, strideY, out): rows x and x + strideX with four from y on, `end` of the first row of x;
 * 6 points to the second row, 7 to 9 to the other rows of y; 10 to 17 are the sums, 18 to 20 values at hand.
 */
const dots: wasm.WasmFunction = {
  name: "dots",
  parameters: [I32, I32, I32, I32, I32, I32],
  locals: [
    [4, I32],
    [11, V128],
  ],
  body: [
    ...[...get(0), ...get(3), ...wasm.ADD_I32, ...set(6)],
    ...[1, 7, 8].flatMap((before, at) => [...get(before), ...get(4), ...wasm.ADD_I32, ...set(7 + at)]),
    ...wasm.repeat(
      [
        ...LANES.flatMap((lane) => [
          ...[...get(0), ...wasm.loadVector(lane * 16), ...set(18)],
          ...[...get(6), ...wasm.loadVector(lane * 16), ...set(19)],
          ...[1, 7, 8, 9].flatMap((pointer, at) => [
            ...[...get(pointer), ...wasm.loadVector(lane * 16), ...tee(20), ...get(18), ...MUL],
            ...[...get(10 + at), ...ADD, ...set(10 + at)],
            ...[...get(20), ...get(19), ...MUL, ...get(14 + at), ...ADD, ...set(14 + at)],
          ]),
        ]),
        ...[0, 1, 6, 7, 8, 9].flatMap((pointer) => wasm.advance(pointer, STRIDE * 8)),
      ],
      0,
      2,
    ),
    ...PARTS.flatMap((_, at) => [
      ...[...get(5), ...get(5), ...wasm.loadF64(at * 8)],
      ...[...get(10 + at), ...wasm.lane(0), ...get(10 + at), ...wasm.lane(1), ...wasm.ADD_F64],
      ...[...wasm.ADD_F64, ...wasm.storeF64(at * 8)],
    ]),
  ],
};

/**
 * (y, x, end, strideY, strideX, shares): four rows from y on += shares of rows x and x + strideX, `end` of the first of
 * these; the shares of the first row of x for the four of y come first. 6 to 8 point to the other rows of y, 9 to the
 * second of x; 10 to 17 hold the shares, 18 and 19 values of x.
 */
const combine: wasm.WasmFunction = {
  name: "combine",
  parameters: [I32, I32, I32, I32, I32, I32],
  locals: [
    [4, I32],
    [10, V128],
  ],
  body: [
    ...[0, 6, 7].flatMap((before, at) => [...get(before), ...get(3), ...wasm.ADD_I32, ...set(6 + at)]),
    ...[...get(1), ...get(4), ...wasm.ADD_I32, ...set(9)],
    ...PARTS.flatMap((_, at) => [...get(5), ...wasm.loadF64(at * 8), ...wasm.SPLAT_F64, ...set(10 + at)]),
    ...wasm.repeat(
      [
        ...LANES.flatMap((lane) => [
          ...[...get(1), ...wasm.loadVector(lane * 16), ...set(18)],
          ...[...get(9), ...wasm.loadVector(lane * 16), ...set(19)],
          ...[0, 6, 7, 8].flatMap((pointer, at) => [
            ...[...get(pointer), ...get(pointer), ...wasm.loadVector(lane * 16)],
            ...[...get(18), ...get(10 + at), ...MUL, ...ADD],
            ...[...get(19), ...get(14 + at), ...MUL, ...ADD, ...wasm.storeVector(lane * 16)],
          ]),
        ]),
        ...[0, 1, 6, 7, 8, 9].flatMap((pointer) => wasm.advance(pointer, STRIDE * 8)),
      ],
      1,
      2,
    ),
  ],
};

/** (target, rows, end, stride): TILE columns of each row, one row after the other; `end` of the target. */
const gather: wasm.WasmFunction = {
  name: "gather",
  parameters: [I32, I32, I32, I32],
  locals: [],
  body: wasm.repeat(
    [
      ...PARTS.flatMap((offset) => [
        ...[...get(0), ...get(1), ...wasm.loadVector(offset), ...wasm.storeVector(offset)],
      ]),
      ...wasm.advance(0, TILE_BYTES),
      ...[...get(1), ...get(3), ...wasm.ADD_I32, ...set(1)],
    ],
    0,
    2,
  ),
};

/** (tile, table, end): pairs of rows by their bytes from the tile's begin; 3 and 4 point to them. */
const sort: wasm.WasmFunction = {
  name: "sort",
  parameters: [I32, I32, I32],
  locals: [
    [2, I32],
    [2, V128],
  ],
  body: wasm.repeat(
    [
      ...[0, 1].flatMap((at) => [
        ...[...get(1), ...wasm.loadI32(at * 4), ...get(0), ...wasm.ADD_I32, ...set(3 + at)],
      ]),
      ...PARTS.flatMap((offset) => [
        ...[
          ...get(3),
          ...wasm.loadVector(offset),
          ...set(5),
          ...get(4),
          ...wasm.loadVector(offset),
          ...set(6),
        ],
        // Both choose by the same comparison, so that of 0 and -0 neither is lost.
        ...[...get(3), ...get(5), ...get(6), ...wasm.PICK_SMALLER, ...wasm.storeVector(offset)],
        ...[...get(4), ...get(6), ...get(5), ...wasm.PICK_LARGER, ...wasm.storeVector(offset)],
      ]),
      ...wasm.advance(1, 8),
    ],
    1,
    2,
  ),
};

/** The part of the platform's WebAssembly that is used: the compiler's library of types for Node.js leaves it out. */
interface Platform {
  readonly WebAssembly: {
    readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
    readonly Instance: new (module: object) => { readonly exports: unknown };
  };
}

const PAGE = 2 ** 16;
const { Module, Instance } = (globalThis as unknown as Platform).WebAssembly; // every platform of Node.js has it

/** Compiled once: the engine optimizes a module while it runs, and would begin anew with another. */
const compiled = new Module(wasm.assemble([add, addFour, round, spread, dots, combine, gather, sort]));

/** The kernels on a memory of their own. */
export function instantiate(bytes: number): KernelExports {
  const kernels = new Instance(compiled).exports as KernelExports;
  kernels.memory.grow(Math.ceil(bytes / PAGE));
  return kernels;
}
