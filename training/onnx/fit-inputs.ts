/**
 * Inputs as a graph wants them. Exports of one model differ: float16 graphs may take float16 or float32, a mask may be
 * boolean, integer or float, or not be there at all.
 */
import { cast } from "../../adapters/cast.ts";
import type { DType, Tensor, TensorSet } from "../../adapters/tensor.ts";

export interface WantedInput {
  readonly name: string;
  /** Element type by its safetensors name. */
  readonly type: string;
}

/** @returns the inputs that the graph has, in its types where a conversion loses nothing that it could use */
export function fitInputs(wanted: readonly WantedInput[], inputs: TensorSet): TensorSet {
  const types = new Map(wanted.map(({ name, type }) => [name, type]));
  return new Map(
    [...inputs].flatMap(([name, tensor]) => {
      const type = types.get(name);
      return type === undefined ? [] : [[name, fitInput(tensor, type)] as const];
    }),
  );
}

/**
 * The tensor in the wanted type: floats in the graph's precision, integers and booleans where every value is kept. What
 * does not fit stays as it is, and whoever runs it names the type that was wanted.
 */
export function fitInput(tensor: Tensor, type: string): Tensor {
  const { dtype, shape } = tensor;
  if (dtype === type) return tensor;
  if (FLOATS.has(dtype))
    return type === "F32" || type === "F16" || type === "BF16" ? cast(tensor, type) : tensor;
  const values = Array.from(tensor.data as ArrayLike<number | bigint>, Number);
  switch (type) {
    case "I64":
      return { dtype: type, shape, data: BigInt64Array.from(values, BigInt) };
    case "I32": {
      const data = Int32Array.from(values);
      return data.every((v, i) => v === values[i]) ? { dtype: type, shape, data } : tensor;
    }
    case "BOOL":
      return values.every((v) => v === 0 || v === 1)
        ? { dtype: type, shape, data: Uint8Array.from(values) }
        : tensor;
    case "F32":
    case "F16": {
      // Beyond these float16 leaves integers out.
      if (values.some((v) => Math.abs(v) > 2048)) return tensor;
      return cast({ dtype: "F32", shape, data: Float32Array.from(values) }, type);
    }
    default:
      return tensor;
  }
}

const FLOATS: ReadonlySet<DType> = new Set<DType>(["F64", "F32", "F16", "BF16"]);
