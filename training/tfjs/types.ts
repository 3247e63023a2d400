/**
 * Element types between programs and tfjs, which has float32, int32 and bool only.
 *
 * float16 is computed in float32. 64-bit and unsigned integers become int32; a value that does not fit is refused.
 */
import { bfloat16ToFloat32, float16ToFloat32, toBfloat16, toFloat16 } from "../../adapters/half.ts";
import { ARRAY_OF, type DType, type Tensor, type TensorData, tensor } from "../../adapters/tensor.ts";
import { type ElementType, valuesOf, type Weight } from "../onnx/weight.ts";

export type TfType = "float32" | "int32" | "bool";

/** @returns undefined for float64, which would lose half of its digits */
export function tfType(type: ElementType): TfType | undefined {
  if (type === "F64") return undefined;
  if (type === "BOOL") return "bool";
  return type === "F32" || type === "F16" || type === "BF16" ? "float32" : "int32";
}

/** @throws RangeError naming the first value that int32 does not hold */
export function toTfValues(type: ElementType, data: TensorData): Float32Array | Int32Array | Uint8Array {
  switch (tfType(type)) {
    case "float32":
      if (type === "F16") return float16ToFloat32(data as Uint16Array);
      return type === "BF16" ? bfloat16ToFloat32(data as Uint16Array) : (data as Float32Array);
    case "bool":
      return data as Uint8Array;
    default:
      return data instanceof Int32Array ? data : toInt32(data);
  }
}

function toInt32(data: TensorData): Int32Array {
  const values = new Int32Array(data.length);
  for (let i = 0; i < values.length; i++) {
    const value = Number(data[i]!);
    values[i] = value;
    if (values[i] !== value)
      throw new RangeError(`integers from -2^31 to 2^31 - 1 are wanted, got ${data[i]}`);
  }
  return values;
}

/** The values of a constant; those of four bits, low half of a byte first, one by one. */
export function weightValues(weight: Weight, count: number): Float32Array | Int32Array | Uint8Array {
  const { type } = weight;
  if (type !== "U4" && type !== "I4") return toTfValues(type, valuesOf(weight));
  const bytes = weight.bytes();
  return Int32Array.from({ length: count }, (_, i) => {
    const half = i % 2 === 0 ? bytes[i >> 1]! & 15 : bytes[i >> 1]! >> 4;
    return type === "I4" && half > 7 ? half - 16 : half;
  });
}

/** What tfjs computed as a tensor of the type that the program says. */
export function fromTfValues(
  type: DType,
  shape: readonly number[],
  values: Float32Array | Int32Array | Uint8Array,
): Tensor {
  if (type === "F16") return tensor(type, shape, toFloat16(Float32Array.from(values)));
  if (type === "BF16") return tensor(type, shape, toBfloat16(Float32Array.from(values)));
  if (type === "I64") return tensor(type, shape, BigInt64Array.from(values as Int32Array, BigInt));
  if (type === "U64") return tensor(type, shape, BigUint64Array.from(values as Int32Array, BigInt));
  const Values = ARRAY_OF[type];
  return tensor(type, shape, values instanceof Values ? values : Values.from(values as Int32Array));
}
