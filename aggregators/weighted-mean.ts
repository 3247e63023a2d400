/**
 * The mean of one tensor over clients, and the walk over all tensors that most rules are made of.
 *
 * Sums run in float64 over clients in the order of `updates.clients`: equal inputs give equal bits. A tensor
 * that a client lacks leaves that tensor's denominator; one that everybody lacks keeps its old value.
 */

import type { Adapter } from "../adapters/adapter.ts";
import { type FloatDType, floats, floatTensor } from "../adapters/cast.ts";
import { sizeOf, type Tensor, type TensorSet } from "../adapters/tensor.ts";
import type { Updates } from "./strategy.ts";

/**
 * Σ w_k x_k / Σ w_k over the clients that have the tensor, in float64; undefined where none has, or all weigh 0.
 *
 * Holds four tensors at a time, whatever the number of clients.
 */
export function meanOf(updates: Updates, name: string, weights: readonly number[]): Float64Array | undefined {
  const present = updates.clients.flatMap((_, k) => (weights[k] !== 0 && updates.has(k, name) ? [k] : []));
  const total = present.reduce((sum, k) => sum + weights[k]!, 0);
  if (total === 0) return undefined;
  let mean: Float64Array | undefined;
  for (let at = 0; at < present.length; at += BLOCK) {
    const block = present.slice(at, at + BLOCK);
    const values = block.map((k) => floats(updates.tensor(k, name)!));
    const shares = block.map((k) => weights[k]! / total);
    mean ??= new Float64Array(values[0]!.length);
    accumulate(mean, values, shares);
  }
  return mean;
}

/** Clients added in one pass over the sum: it is read and written once for four of them. */
const BLOCK = 4;

/** sum += Σ shares_k values_k, left to right, so that blocks do not show in the bits. */
export function accumulate(
  sum: Float64Array,
  values: readonly (Float32Array | Float64Array)[],
  shares: readonly number[],
): void {
  if (values.length === BLOCK && values.every((x) => x instanceof Float32Array)) {
    addFour(sum, values[0]!, values[1]!, values[2]!, values[3]!, shares);
    return;
  }
  for (const [j, x] of values.entries()) {
    if (x instanceof Float32Array) addSingle(sum, x, shares[j]!);
    else addDouble(sum, x, shares[j]!);
  }
}

// One function for each element type, so that the compiler sees one kind of array in each loop.
function addFour(
  sum: Float64Array,
  a: Float32Array | Float64Array,
  b: Float32Array | Float64Array,
  c: Float32Array | Float64Array,
  d: Float32Array | Float64Array,
  shares: readonly number[],
): void {
  const p = shares[0]!;
  const q = shares[1]!;
  const r = shares[2]!;
  const s = shares[3]!;
  for (let i = 0; i < sum.length; i++) {
    sum[i] = sum[i]! + p * a[i]! + q * b[i]! + r * c[i]! + s * d[i]!;
  }
}

function addSingle(sum: Float64Array, x: Float32Array, share: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + share * x[i]!;
}

function addDouble(sum: Float64Array, x: Float64Array, share: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + share * x[i]!;
}

/** The mean minus the global tensor: the step that the clients took together, Δ of Reddi et al. */
export function pseudoGradient(mean: Float64Array, global: Tensor): Float64Array {
  const step = mean.slice();
  const old = floats(global);
  for (let i = 0; i < step.length; i++) step[i] = step[i]! - old[i]!;
  return step;
}

/** A tensor like `old` with new values, rounded once to its type. */
export function like(old: Tensor, values: Float64Array): Tensor {
  return floatTensor(old.dtype as FloatDType, old.shape, values); // the update check lets only floats in
}

/**
 * A new global adapter, tensor by tensor; `rule` returns the new values, or undefined to keep the old tensor.
 * It is asked only for tensors that at least one client sent: one that nobody sent keeps its value.
 */
export function mapGlobal(
  global: Adapter,
  updates: Updates,
  rule: (name: string, old: Tensor) => Float64Array | undefined,
): Adapter {
  const sent = new Set(updates.names);
  const tensors = new Map<string, Tensor>();
  for (const [name, old] of global.tensors) {
    const values = sent.has(name) ? rule(name, old) : undefined;
    tensors.set(name, values === undefined ? old : like(old, values));
  }
  return { config: global.config, tensors };
}

/** Moments and variates are kept in float64: a v that starts at 1e-6 and grows by 1e-14 would stand still in float32. */
export function stateTensor(shape: readonly number[], values: Float64Array): Tensor {
  return { dtype: "F64", shape, data: values };
}

export function zeros(shape: readonly number[]): Float64Array {
  return new Float64Array(sizeOf(shape));
}

/** The values of one tensor of a state's set, copied so that they may be changed; zeros (or `fill`) where absent. */
export function stateValues(set: TensorSet | undefined, name: string, like: Tensor, fill = 0): Float64Array {
  const tensor = set?.get(name);
  return tensor === undefined ? zeros(like.shape).fill(fill) : Float64Array.from(floats(tensor));
}
