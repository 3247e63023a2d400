/**
 * Inputs as a graph wants them. Exports of one model differ: float16 graphs may take float16 or float32, a pixel
 * mask may be boolean or integer, or not be there at all.
 */
import { cast } from "../adapters/cast.ts";
import type { Tensor, TensorSet } from "../adapters/tensor.ts";

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
      return type === undefined ? [] : [[name, fitted(tensor, type)] as const];
    }),
  );
}

function fitted(tensor: Tensor, type: string): Tensor {
  if (tensor.dtype === type) return tensor;
  if (tensor.dtype === "F32" && (type === "F16" || type === "BF16")) return cast(tensor, type);
  if (tensor.dtype === "BOOL" && type === "I64") {
    const data = BigInt64Array.from(tensor.data as Uint8Array, BigInt); // BOOL is held as bytes
    return { dtype: "I64", shape: tensor.shape, data };
  }
  return tensor; // whoever runs it names the type that was wanted
}
