/** What clients changed: w_k − w tensor by tensor, from the tensor each started from. */
import { floats } from "../adapters/cast.ts";
import type { Tensor } from "../adapters/tensor.ts";
import type { Updates } from "./strategy.ts";

/** w_k − w in float64, exact for float32 inputs of like size; undefined where the client lacks the tensor. */
export function differenceOf(
  updates: Updates,
  client: number,
  name: string,
  global: Tensor,
): Float64Array | undefined {
  const sent = updates.tensor(client, name);
  if (sent === undefined) return undefined;
  const start = floats(updates.base?.(client, name) ?? global);
  const difference = new Float64Array(floats(sent));
  for (let i = 0; i < difference.length; i++) difference[i] = difference[i]! - start[i]!;
  return difference;
}

export function squaredNorm(values: Float64Array | Float32Array): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]! * values[i]!;
  return total;
}

/** ||w_k − w|| of each client over all tensors together. */
export function differenceNorms(updates: Updates, global: ReadonlyMap<string, Tensor>): number[] {
  return updates.clients.map((_, k) => {
    let total = 0;
    for (const [name, old] of global) {
      const difference = differenceOf(updates, k, name, old);
      if (difference !== undefined) total += squaredNorm(difference);
    }
    return Math.sqrt(total);
  });
}

/** sum += factor · values */
export function addScaled(sum: Float64Array, values: Float64Array | Float32Array, factor: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + factor * values[i]!;
}
