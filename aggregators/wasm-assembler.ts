/**
 * The few WebAssembly instructions that the kernels are made of, and the sections around them. Opcodes are those of
 * https://webassembly.github.io/spec/core/binary.
 */

export const I32 = 0x7f;
export const F32 = 0x7d;
export const F64 = 0x7c;
export const V128 = 0x7b;

export type Code = readonly number[];

export const get = (local: number): Code => [0x20, local];
export const set = (local: number): Code => [0x21, local];
export const tee = (local: number): Code => [0x22, local];
export const simd = (...opcode: Code): Code => [0xfd, ...opcode];

/** Alignment 2^2 everywhere: parts of tensors begin at any element. */
const memory = (offset: number): Code => [2, ...leb(offset)];
export const loadVector = (offset: number): Code => simd(0x00, ...memory(offset));
export const storeVector = (offset: number): Code => simd(0x0b, ...memory(offset));
export const loadI32 = (offset: number): Code => [0x28, ...memory(offset)];
export const loadF64 = (offset: number): Code => [0x2b, ...memory(offset)];
export const storeF64 = (offset: number): Code => [0x39, ...memory(offset)];
/** Stores the lower two float32 lanes. */
export const storeLow = (offset: number): Code => simd(0x5b, ...memory(offset), 0);
/** Two float32 from a pointer, as two float64. */
export const loadPromoted = (pointer: number, offset: number): Code => [
  ...get(pointer),
  ...simd(0x5d, ...memory(offset)), // v128.load64_zero
  ...simd(0x5f), // f64x2.promote_low_f32x4
];
export const DEMOTE = simd(0x5e); // f32x4.demote_f64x2_zero
export const SPLAT_F64 = simd(0x14);
export const lane = (index: number): Code => simd(0x21, index); // f64x2.extract_lane
export const ADD = simd(0xf0, 0x01); // f64x2
export const SUB = simd(0xf1, 0x01);
export const MUL = simd(0xf2, 0x01);
/** b < a ? b : a and a < b ? b : a: one instruction each, where min and max of IEEE 754 are eight. */
export const PICK_SMALLER = simd(0xea, 0x01); // f32x4.pmin
export const PICK_LARGER = simd(0xeb, 0x01); // f32x4.pmax
export const ADD_F64: Code = [0xa0];
export const ADD_I32: Code = [0x6a];

export const constant = (value: number): Code => [0x41, ...sleb(value)];
export const advance = (pointer: number, bytes: number): Code => [
  ...get(pointer),
  ...constant(bytes),
  ...ADD_I32,
  ...set(pointer),
];

/** do { body } while (pointer < end), unsigned. */
export const repeat = (body: Code, pointer: number, end: number): Code => [
  ...[0x03, 0x40],
  ...body,
  ...[...get(pointer), ...get(end), 0x49, 0x0d, 0],
  0x0b,
];

export interface WasmFunction {
  readonly name: string;
  readonly parameters: Code;
  readonly results?: Code;
  /** Further locals, in runs of one type. */
  readonly locals: readonly (readonly [count: number, type: number])[];
  readonly body: Code;
}

/** A module that exports these functions and a memory without pages, to be grown. */
export function assemble(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ parameters, results = [] }) => [
    0x60,
    ...vector(parameters.map((type) => [type])),
    ...vector(results.map((type) => [type])),
  ]);
  const exports = functions.map(({ name }, at) => exported(name, 0, at));
  const codes = functions.map(({ locals, body }) =>
    sized([...vector(locals.map(([count, type]) => [...leb(count), type])), ...body, 0x0b]),
  );
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(types)),
    ...section(3, vector(functions.map((_, at) => leb(at)))),
    ...section(5, vector([[0x00, 0]])),
    ...section(7, vector([exported("memory", 2, 0), ...exports])),
    ...section(10, vector(codes)),
  ]);
}

function section(id: number, content: Code): Code {
  return [id, ...sized(content)];
}

function exported(name: string, kind: number, index: number): Code {
  return [...sized([...Buffer.from(name)]), kind, index];
}

function sized(content: Code): Code {
  return [...leb(content.length), ...content];
}

function vector(items: readonly Code[]): Code {
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
