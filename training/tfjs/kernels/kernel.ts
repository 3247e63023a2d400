/**
 * What an operator is to tfjs: a function from tensors to tensors.
 *
 * Invariants, kept by session.ts, that kernels may rely on:
 *  1. Shapes and attributes were checked when the program was built; inputs have the types that types.ts maps to.
 *  2. `run` is called inside tf.tidy: what it makes and does not return is freed.
 *  3. Inputs in `stated` are constants of the program; they have no tensor.
 */
import type * as tfjs from "@tensorflow/tfjs";
import { axisOf, type Operation } from "../../onnx/program.ts";

export type Tf = typeof tfjs;
export type TfTensor = tfjs.Tensor;

export interface Kernel {
  readonly op: string;
  /** "" where absent. */
  readonly domain?: string;
  /** Inputs, by position, whose numbers are read from the program: shapes, axes, bounds. */
  readonly stated?: readonly number[];
  /** Why this call cannot be computed, undefined where it can; asked before anything runs. */
  refuses?(call: Operation): string | undefined;
  /** The results in their order; those that the call does not ask for may follow. */
  run(tf: Tf, inputs: readonly (TfTensor | undefined)[], call: Operation): TfTensor | readonly TfTensor[];
}

/** For what tfjs does along the last axis only: another axis changes places with it. */
export function alongLast(tf: Tf, x: TfTensor, axis: number, compute: (x: TfTensor) => TfTensor): TfTensor {
  const at = axisOf(axis, x.rank);
  if (at === x.rank - 1) return compute(x);
  const perm = x.shape.map((_, i) => (i === at ? x.rank - 1 : i === x.rank - 1 ? at : i));
  return tf.transpose(compute(tf.transpose(x, perm)), perm);
}
