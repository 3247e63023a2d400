/** Between the element types a tensor is stored in and the numbers we calculate with. */
import { bfloat16ToFloat32, float16ToFloat32, toBfloat16, toFloat16 } from "./half.ts";
import type { DType, Tensor } from "./tensor.ts";

export type FloatDType = "F64" | "F32" | "F16" | "BF16";

export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16" || dtype === "F64";
}

/**
 * The values of a float tensor, widened without loss: Float64Array for F64, Float32Array for the others.
 * F32 and F64 are not copied, so do not write into the result.
 *
 * @throws TypeError for integers and booleans
 */
export function floats(tensor: Tensor): Float32Array | Float64Array {
  if (tensor.data instanceof Float32Array || tensor.data instanceof Float64Array) return tensor.data;
  if (tensor.data instanceof Uint16Array && tensor.dtype === "F16") return float16ToFloat32(tensor.data);
  if (tensor.data instanceof Uint16Array && tensor.dtype === "BF16") return bfloat16ToFloat32(tensor.data);
  throw new TypeError(`A ${tensor.dtype} tensor holds no floats`);
}

/** The values of a float tensor as float64, always a fresh array. @throws TypeError for integers and booleans */
export function toFloat64(tensor: Tensor): Float64Array {
  return new Float64Array(floats(tensor));
}

/** Values in the wanted type, each rounded once, to nearest even. Does not copy where nothing changes. */
export function floatTensor(
  dtype: FloatDType,
  shape: readonly number[],
  values: Float32Array | Float64Array,
): Tensor {
  switch (dtype) {
    case "F64":
      return { dtype, shape, data: values instanceof Float64Array ? values : new Float64Array(values) };
    case "F32":
      return { dtype, shape, data: values instanceof Float32Array ? values : new Float32Array(values) };
    case "F16":
      return { dtype, shape, data: toFloat16(values) };
    case "BF16":
      return { dtype, shape, data: toBfloat16(values) };
    default:
      return dtype satisfies never;
  }
}

/** A float tensor in another type; the tensor itself where it already is. */
export function cast(tensor: Tensor, dtype: FloatDType): Tensor {
  return tensor.dtype === dtype ? tensor : floatTensor(dtype, tensor.shape, floats(tensor));
}

/** Whether every element is a number: no NaN, no infinity. Integers always are. */
export function allFinite(tensor: Tensor): boolean {
  if (!isFloat(tensor.dtype)) return true;
  if (tensor.data instanceof Uint16Array) {
    const exponent = tensor.dtype === "F16" ? 0x7c00 : 0x7f80; // all ones: infinity or NaN
    for (const bits of tensor.data) if ((bits & exponent) === exponent) return false;
    return true;
  }
  if (!(tensor.data instanceof Float32Array)) return finite(floats(tensor));
  const { buffer, byteOffset, length } = tensor.data;
  return finiteBits(new Int32Array(buffer, byteOffset, length));
}

/**
 * Whether float32 numbers, given by their bits, are finite; four at a time, since every update and every result goes
 * through here. One more than an exponent of all ones carries into the sign bit.
 */
export function finiteBits(bits: Int32Array): boolean {
  const whole = bits.length & ~3;
  let carried = 0;
  for (let i = 0; i < whole; i += 4) {
    carried |=
      ((bits[i]! & 0x7f800000) + 0x800000) |
      ((bits[i + 1]! & 0x7f800000) + 0x800000) |
      ((bits[i + 2]! & 0x7f800000) + 0x800000) |
      ((bits[i + 3]! & 0x7f800000) + 0x800000);
  }
  for (let i = whole; i < bits.length; i++) carried |= (bits[i]! & 0x7f800000) + 0x800000;
  return carried >= 0;
}

function finite(values: Float32Array | Float64Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i]!)) return false;
  return true;
}
