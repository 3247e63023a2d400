/**
 * The mean of one tensor over clients, and the walk over all tensors that most rules are made of.
 *
 * Sums run in float64 over clients in the order of `updates.clients`: equal inputs give equal bits. A tensor
 * that a client lacks leaves that tensor's denominator; one that everybody lacks keeps its old value.
 */

import type { Adapter } from "../adapters/adapter.ts";
import { type FloatDType, floats, floatTensor } from "../adapters/cast.ts";
import { sizeOf, type Tensor, type TensorSet } from "../adapters/tensor.ts";
import { PART } from "./kernels.ts";
import { canSlice, havingTensor } from "./parts.ts";
import type { Updates } from "./strategy.ts";
import { createSummer } from "./summer.ts";
import { sum } from "./weights.ts";

/** Scratch of this thread. Rules are synchronous, so that no two use it at once. */
const summer = createSummer();

/**
 * Σ w_k x_k / Σ w_k over the clients that have the tensor, in float64; undefined where none has, or all weigh 0.
 *
 * Holds a part of one client's tensor at a time where it can be read in parts, else one client's tensor.
 */
export function meanOf(updates: Updates, name: string, weights: readonly number[]): Float64Array | undefined {
  return meanInto(Float64Array, updates, name, weights) as Float64Array | undefined; // the type asked for
}

/** The same, each value rounded once to `old`'s type. */
export function meanLike(
  old: Tensor,
  updates: Updates,
  name: string,
  weights: readonly number[],
): Float64Array | Float32Array | undefined {
  return meanInto(old.dtype === "F32" ? Float32Array : Float64Array, updates, name, weights);
}

function meanInto(
  type: Float64ArrayConstructor | Float32ArrayConstructor,
  updates: Updates,
  name: string,
  weights: readonly number[],
): Float64Array | Float32Array | undefined {
  const present = havingTensor(updates, name).filter((k) => weights[k] !== 0);
  const [first] = present;
  if (first === undefined) return undefined;
  const total = sum(present.map((k) => weights[k]!));
  const size = sizeOf(updates.shape(first, name));
  if (!canSlice(updates, present, name)) {
    const mean = new Float64Array(size);
    for (const k of present) addShare(mean, floats(updates.tensor(k, name)!), weights[k]! / total);
    return type === Float64Array ? mean : new Float32Array(mean);
  }
  const mean = new type(size);
  for (let from = 0; from < size; from += PART) {
    summer.begin(Math.min(PART, size - from));
    for (const k of present) {
      summer.add(weights[k]! / total, (target) => updates.slice!(k, name, from, target));
    }
    if (type === Float32Array) {
      mean.set(summer.rounded(), from);
    } else {
      summer.finish();
      mean.set(summer.sum.subarray(0, Math.min(PART, size - from)), from);
    }
  }
  return mean;
}

/** The kernel's sum in JavaScript, for what it does not take: the same bits. */
function addShare(mean: Float64Array, values: Float32Array | Float64Array, share: number): void {
  for (let i = 0; i < mean.length; i++) mean[i] = mean[i]! + share * values[i]!;
}

/** The mean minus the global tensor: the step that the clients took together, Δ of Reddi et al. */
export function pseudoGradient(mean: Float64Array, global: Tensor): Float64Array {
  const step = mean.slice();
  const old = floats(global);
  for (let i = 0; i < step.length; i++) step[i] = step[i]! - old[i]!;
  return step;
}

/** A tensor like `old` with new values, rounded once to its type. */
export function like(old: Tensor, values: Float64Array | Float32Array): Tensor {
  return floatTensor(old.dtype as FloatDType, old.shape, values); // the update check lets only floats in
}

/**
 * A new global adapter, tensor by tensor; `rule` returns the new values, or undefined to keep the old tensor.
 * It is asked only for tensors that at least one client sent: one that nobody sent keeps its value.
 */
export function mapGlobal(
  global: Adapter,
  updates: Updates,
  rule: (name: string, old: Tensor) => Float64Array | Float32Array | undefined,
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

/** In shared memory: what a strategy keeps goes back and forth between threads, twice the size of the adapter. */
export function zeros(shape: readonly number[]): Float64Array {
  return new Float64Array(new SharedArrayBuffer(8 * sizeOf(shape)));
}

/** The values of one tensor of a state's set, copied so that they may be changed; zeros (or `fill`) where absent. */
export function stateValues(set: TensorSet | undefined, name: string, like: Tensor, fill = 0): Float64Array {
  const tensor = set?.get(name);
  const values = zeros(like.shape);
  if (tensor !== undefined) values.set(floats(tensor));
  else if (fill !== 0) values.fill(fill);
  return values;
}
