/**
 * Tensors as plain data: what an adapter, an update and a safetensors file are made of.
 *
 * Invariants of a Tensor, checked by `tensor()` and by the safetensors reader; everyone behind them may rely on them:
 *  1. `shape` holds non-negative integers; the empty shape is a scalar.
 *  2. `data.length` is the product of `shape`.
 *  3. `data` is the array type that `dtype` names below; F16 and BF16 hold their bit patterns.
 *  4. Nobody writes into `data` after the tensor was handed on.
 */

/** Element types by their safetensors names. */
export const ARRAY_OF = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

export type DType = keyof typeof ARRAY_OF;
export type TensorData =
  | Float64Array
  | Float32Array
  | Uint16Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | BigUint64Array
  | Uint32Array
  | Uint8Array;

export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Tensors by name, iterated in byte order of their names (`tensorSet()` sorts). */
export type TensorSet = ReadonlyMap<string, Tensor>;

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

export function byteLength(tensor: Tensor): number {
  return tensor.data.byteLength;
}

/** @throws TypeError if shape, dtype and data do not fit together */
export function tensor(dtype: DType, shape: readonly number[], data: TensorData): Tensor {
  if (!shape.every((dim) => Number.isInteger(dim) && dim >= 0)) {
    throw new TypeError(`A shape holds non-negative integers, got [${shape.join(", ")}]`);
  }
  if (data.length !== sizeOf(shape)) {
    throw new TypeError(`Shape [${shape.join(", ")}] wants ${sizeOf(shape)} elements, got ${data.length}`);
  }
  if (!(data instanceof ARRAY_OF[dtype])) {
    throw new TypeError(`${dtype} wants a ${ARRAY_OF[dtype].name}, got a ${data.constructor.name}`);
  }
  return { dtype, shape, data };
}

export function float32(shape: readonly number[], values: ArrayLike<number>): Tensor {
  return tensor("F32", shape, values instanceof Float32Array ? values : Float32Array.from(values));
}

/** Same element type and same shape; what merely broadcasts is another layout. */
export function sameLayout(a: Tensor, b: Tensor): boolean {
  return a.dtype === b.dtype && sameShape(a.shape, b.shape);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}

/** Bytes of all tensors together, as they lie in a file without its header. */
export function setBytes(set: TensorSet): number {
  let bytes = 0;
  for (const tensor of set.values()) bytes += byteLength(tensor);
  return bytes;
}

/** Compares as UTF-8 bytes do; `<` on strings compares UTF-16 units, which differs past U+FFFF. */
export function compareNames(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x === y) continue;
    return isSurrogate(x) || isSurrogate(y) ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : x - y;
  }
  return a.length - b.length;
}

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff;

/** @throws TypeError if a name comes twice */
export function tensorSet(entries: Iterable<readonly [string, Tensor]>): TensorSet {
  const sorted = [...entries].sort(([a], [b]) => compareNames(a, b));
  const set = new Map(sorted);
  if (set.size !== sorted.length) throw new TypeError("A tensor set holds each name once");
  return set;
}
