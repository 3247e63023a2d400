/**
 * The inner loops that a round's speed hangs on, in WebAssembly with two float64 lanes: JavaScript has no vector
 * instructions, and its loop over float32 parts is four times slower.
 *
 *   add(sum, x, share)     sum[i] += share · x[i]         float64 += float64 · float32, each product rounded once
 *   distance(a, b)         Σ (a[i] − b[i])²               in float64
 *   exchange(a, b)         a[i], b[i] ← smaller, larger   float32, exact
 *
 * They give the same bits wherever they run: no fused multiply-add, a fixed order of lanes. The module is assembled
 * here from its few instructions; offsets and opcodes are those of https://webassembly.github.io/spec/core/binary.
 */

/** Elements that the loops take at a time; lengths are rounded up to it and padded with zeros. */
const STRIDE = 8;

/** Elements of a part: its float64 sum and a client's values lie in 192 KiB, well inside a core's cache. */
export const PART = 2 ** 14;

/** Elements of a part where the parts of `clients` must lie in the cache together: 512 KiB of them. */
export function partOf(clients: number): number {
  return Math.max(STRIDE, Math.min(PART, Math.floor(2 ** 17 / clients / STRIDE) * STRIDE));
}

const PAGE = 2 ** 16;

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  add(sum: number, x: number, end: number, share: number): void;
  distance(a: number, b: number, end: number): number;
  exchange(a: number, b: number, end: number): void;
}

/** The part of the platform's WebAssembly that is used: the compiler's library of types for Node.js leaves it out. */
interface Platform {
  readonly WebAssembly: {
    readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
    readonly Instance: new (module: object) => { readonly exports: unknown };
  };
}

export interface Kernels {
  /** A part's float64 sum. */
  readonly sum: Float64Array;
  /** Where a client's part of `length` elements is put; what the loops read past it is 0. */
  slot(index: number, length: number): Float32Array;
  /** sum += share · slot, over the first `length` elements. */
  add(index: number, length: number, share: number): void;
  /** Squared distance of the first `length` elements of two slots. */
  distance(first: number, second: number, length: number): number;
  /** The smaller of each pair of elements goes to the first slot, the larger to the second. */
  exchange(first: number, second: number, length: number): void;
}

/**
 * @param slots parts of clients that lie in memory at the same time
 * @param part most elements of a part, a multiple of 8; memory is 8 bytes of each for the sum and 4 for each slot
 */
export function createKernels(slots: number, part = PART): Kernels {
  const { memory, add, distance, exchange } = new wasm.Instance(compiled).exports as Exports;
  memory.grow(Math.ceil((part * 8 + slots * part * 4) / PAGE));
  const at = (index: number) => part * 8 + index * part * 4;
  const bytes = (length: number) => Math.ceil(length / STRIDE) * STRIDE * 4;
  return {
    sum: new Float64Array(memory.buffer, 0, part),
    slot(index, length) {
      if (length < part) new Float32Array(memory.buffer, at(index), part).fill(0, length);
      return new Float32Array(memory.buffer, at(index), length);
    },
    add: (index, length, share) => add(0, at(index), at(index) + bytes(length), share),
    distance: (first, second, length) => distance(at(first), at(second), at(first) + bytes(length)),
    exchange: (first, second, length) => exchange(at(first), at(second), at(first) + bytes(length)),
  };
}

const I32 = 0x7f;
const F64 = 0x7c;
const V128 = 0x7b;
const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const tee = (local: number) => [0x22, local];
const simd = (...opcode: readonly number[]) => [0xfd, ...opcode];
const load64AsF64x2 = (pointer: number, offset: number) => [
  ...get(pointer),
  ...simd(0x5d, 2, offset), // v128.load64_zero: two float32
  ...simd(0x5f), // f64x2.promote_low_f32x4
];
const ADD = simd(0xf0, 0x01);
const SUB = simd(0xf1, 0x01);
const MUL = simd(0xf2, 0x01);
const advance = (pointer: number, bytes: number) => [
  ...get(pointer),
  0x41,
  ...sleb(bytes),
  0x6a,
  ...set(pointer),
];
const LANES = [0, 1, 2, 3];

/** (sum, x, end, share): locals 0 to 3; 4 holds share in both lanes. */
const addBody = [
  ...get(3),
  ...simd(0x14), // f64x2.splat
  ...set(4),
  ...[0x03, 0x40], // loop
  ...LANES.flatMap((lane) => [
    ...get(0),
    ...get(0),
    ...simd(0x00, 3, lane * 16), // v128.load
    ...load64AsF64x2(1, lane * 8),
    ...get(4),
    ...MUL,
    ...ADD,
    ...simd(0x0b, 3, lane * 16), // v128.store
  ]),
  ...advance(0, STRIDE * 8),
  ...advance(1, STRIDE * 4),
  ...[...get(1), ...get(2), 0x49, 0x0d, 0], // br_if x < end
  0x0b,
];

/** (a, b, end): locals 0 to 2; 3 to 6 are the lanes' sums, 7 the difference at hand. */
const distanceBody = [
  ...[0x03, 0x40],
  ...LANES.flatMap((lane) => [
    ...load64AsF64x2(0, lane * 8),
    ...load64AsF64x2(1, lane * 8),
    ...SUB,
    ...tee(7),
    ...get(7),
    ...MUL,
    ...get(3 + lane),
    ...ADD,
    ...set(3 + lane),
  ]),
  ...advance(0, STRIDE * 4),
  ...advance(1, STRIDE * 4),
  ...[...get(0), ...get(2), 0x49, 0x0d, 0],
  0x0b,
  ...[...get(3), ...get(4), ...ADD, ...get(5), ...ADD, ...get(6), ...ADD, ...set(7)],
  ...[...get(7), ...simd(0x21, 0), ...get(7), ...simd(0x21, 1), 0xa0], // both lanes, f64.add
];

/** (a, b, end): locals 0 to 2; 3 and 4 hold four values each. */
const exchangeBody = [
  ...[0x03, 0x40],
  ...[0, 16].flatMap((offset) => [
    ...[...get(0), ...simd(0x00, 2, offset), ...set(3), ...get(1), ...simd(0x00, 2, offset), ...set(4)],
    ...[...get(0), ...get(3), ...get(4), ...simd(0xe8, 0x01), ...simd(0x0b, 2, offset)], // f32x4.min
    ...[...get(1), ...get(3), ...get(4), ...simd(0xe9, 0x01), ...simd(0x0b, 2, offset)], // f32x4.max
  ]),
  ...advance(0, STRIDE * 4),
  ...advance(1, STRIDE * 4),
  ...[...get(0), ...get(2), 0x49, 0x0d, 0],
  0x0b,
];

function assemble(): Uint8Array<ArrayBuffer> {
  const addType = [0x60, ...vector([I32, I32, I32, F64].map((type) => [type])), 0];
  const distanceType = [0x60, ...vector([I32, I32, I32].map((type) => [type])), 1, F64];
  const exchangeType = [0x60, ...vector([I32, I32, I32].map((type) => [type])), 0];
  const code = (locals: readonly number[][], body: readonly number[]) =>
    sized([...vector(locals), ...body, 0x0b]);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector([addType, distanceType, exchangeType])),
    ...section(3, vector([[0], [1], [2]])),
    ...section(5, vector([[0x00, 0]])), // a memory without pages, to be grown
    ...section(
      7,
      vector([
        exported("memory", 2, 0),
        exported("add", 0, 0),
        exported("distance", 0, 1),
        exported("exchange", 0, 2),
      ]),
    ),
    ...section(
      10,
      vector([code([[1, V128]], addBody), code([[5, V128]], distanceBody), code([[2, V128]], exchangeBody)]),
    ),
  ]);
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...sized(content)];
}

function exported(name: string, kind: number, index: number): number[] {
  return [...sized([...Buffer.from(name)]), kind, index];
}

function sized(content: readonly number[]): number[] {
  return [...leb(content.length), ...content];
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...leb(items.length), ...items.flat()];
}

/** Unsigned LEB128. */
function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)];
}

/** Signed LEB128 of a non-negative number. */
function sleb(value: number): number[] {
  return value < 64 ? [value] : [(value & 127) | 128, ...sleb(value >>> 7)];
}

const wasm = (globalThis as unknown as Platform).WebAssembly; // every platform of Node.js has it

/** Compiled once: the engine optimizes a module while it runs, and would begin anew with another. */
const compiled = new wasm.Module(assemble());
