/** Constants as numbers and back: what folding computes with. */
import { float16ToFloat32, toFloat16 } from "../../adapters/half.ts";
import { ARRAY_OF, type DType, sizeOf, type TensorData, tensor } from "../../adapters/tensor.ts";
import { broadcastShape, type Numbers, stridesOf } from "./program.ts";
import { valuesOf, type Weight, weightOf } from "./weight.ts";

/** Element types whose constants are folded. */
const FOLDED = new Set<string>(["F32", "F16", "F64", "I64", "I32", "BOOL", "U8", "I8", "I16", "U16", "U32"]);

/** Largest constant computed at build time, in elements: a causal mask of 2048 positions. Larger ones are the runtime's. */
export const MAX_FOLDED = 2 ** 22;

export function numbersOf(weight: Weight): Numbers | undefined {
  if (!FOLDED.has(weight.type) || sizeOf(weight.shape) > MAX_FOLDED) return undefined;
  const stored = valuesOf(weight);
  const values = weight.type === "F16" ? float16ToFloat32(stored as Uint16Array) : stored;
  return {
    type: weight.type,
    shape: weight.shape,
    data: Float64Array.from(values as ArrayLike<number>, Number),
  };
}

/** The values rounded to their type, as a weight. */
export function weightFrom({ type, shape, data }: Numbers): Weight {
  const dtype = type as DType; // FOLDED has no other
  if (type === "F16") return weightOf("F16", shape, toFloat16(data));
  if (type === "I64") return weightOf("I64", shape, BigInt64Array.from(data, toInt64));
  const values: TensorData = (ARRAY_OF[dtype] as Float32ArrayConstructor).from(data) as TensorData;
  return weightOf(dtype, shape, tensor(dtype, shape, values).data);
}

const INT64_MAX = 2n ** 63n - 1n;

/** Slices end at the largest int64, which a double cannot hold. */
function toInt64(value: number): bigint {
  if (Number.isNaN(value)) return 0n;
  if (value >= 2 ** 63) return INT64_MAX;
  if (value < -(2 ** 63)) return -(2n ** 63n);
  return BigInt(Math.trunc(value));
}

/** Calls `visit(target index, source indices)` for each element of the broadcast of `shapes`, in row-major order. */
export function eachBroadcast(
  shapes: readonly (readonly number[])[],
  visit: (target: number, sources: readonly number[]) => void,
): readonly number[] {
  const shape = broadcastShape(...shapes);
  const rank = shape.length;
  const strides = shapes.map((own) => {
    const steps = stridesOf(own);
    return shape.map((_, i) => {
      const axis = i - rank + own.length;
      return axis < 0 || own[axis] === 1 ? 0 : steps[axis]!;
    });
  });
  const index = new Array<number>(rank).fill(0);
  const at = shapes.map(() => 0);
  const size = sizeOf(shape);
  for (let target = 0; target < size; target++) {
    visit(target, at);
    for (let axis = rank - 1; axis >= 0; axis--) {
      index[axis]!++;
      for (let s = 0; s < at.length; s++) at[s]! += strides[s]![axis]!;
      if (index[axis]! < shape[axis]!) break;
      for (let s = 0; s < at.length; s++) at[s]! -= strides[s]![axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return shape;
}
