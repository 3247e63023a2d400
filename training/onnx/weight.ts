/** Constant tensors of a graph. Their bytes stay in the file until somebody asks. */
import { ARRAY_OF, type DType, sizeOf, type TensorData } from "../../adapters/tensor.ts";

/** safetensors' names, and the two that ONNX packs two to a byte. */
export type ElementType = DType | "U4" | "I4";

export interface Weight {
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** Where the bytes lie in the folder of the model, if they lie in a file as they are. */
  readonly source?: { readonly location: string; readonly offset: number; readonly length: number };
  bytes(): Uint8Array;
}

/** ONNX's numbers of element types that we know. */
export const ELEMENT_NUMBERS: Readonly<Record<ElementType, number>> = {
  F32: 1,
  U8: 2,
  I8: 3,
  U16: 4,
  I16: 5,
  I32: 6,
  I64: 7,
  BOOL: 9,
  F16: 10,
  F64: 11,
  U32: 12,
  U64: 13,
  BF16: 16,
  U4: 21,
  I4: 22,
};

const ELEMENT_NAMES = new Map(
  Object.entries(ELEMENT_NUMBERS).map(([name, number]) => [number, name as ElementType]),
);

/** @returns undefined for types no graph of ours computes with (strings, complex, float8) */
export function elementType(number: number): ElementType | undefined {
  return ELEMENT_NAMES.get(number);
}

export function byteSize(type: ElementType, shape: readonly number[]): number {
  const count = sizeOf(shape);
  return type === "U4" || type === "I4" ? Math.ceil(count / 2) : count * ARRAY_OF[type].BYTES_PER_ELEMENT;
}

/** The values as a typed array; a copy where the bytes are not aligned for it. */
export function valuesOf(weight: Weight): TensorData {
  if (weight.type === "U4" || weight.type === "I4") throw new TypeError(`${weight.type} has no array type`);
  const bytes = weight.bytes();
  const type = ARRAY_OF[weight.type];
  const aligned = bytes.byteOffset % type.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes);
  return new type(
    aligned.buffer as ArrayBuffer, // the constructors do not take SharedArrayBuffer's union in one go
    aligned.byteOffset,
    aligned.byteLength / type.BYTES_PER_ELEMENT,
  );
}

/** A weight made here, not read. */
export function weightOf(type: DType, shape: readonly number[], data: TensorData): Weight {
  if (data.length !== sizeOf(shape))
    throw new TypeError(`Shape [${shape.join(", ")}] wants ${sizeOf(shape)} elements, got ${data.length}`);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { type, shape, bytes: () => bytes };
}

export function isFloat(type: ElementType): boolean {
  return type === "F32" || type === "F16" || type === "F64" || type === "BF16";
}
