/** A model as the training loop and prediction see it: rows in, losses and gradients out. */
import type { TensorSet } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";

/** An example made ready for a model. */
export interface Row {
  readonly id: string;
  /** Tokens, or 1 where a model has no sequence. */
  readonly length: number;
  readonly touched: { readonly text: boolean; readonly image: boolean; readonly audio: boolean };
}

export interface Losses {
  /** Sum of the loss over all labels, and their number. */
  readonly lossSum: number;
  readonly labels: number;
}

export interface Gradients extends Losses {
  /** Gradients of `lossSum` by parameter, all F32; a tensor that no row reaches is absent. */
  readonly gradients: TensorSet;
}

/** What a learner is asked for at a time: rows that one set of parameters meets. */
export interface Portion<R extends Row> {
  readonly rows: readonly R[];
  readonly parameters: TensorSet;
  /** Of the dropout masks; without one nothing is dropped. */
  readonly seed?: string;
}

export interface Learner<R extends Row> {
  /** Names of the tensors that training can move; an adapter's other tensors stay as they are. */
  readonly trainable: ReadonlySet<string>;
  /** Those of them that are embeddings: rows that no example met stay as they are. */
  readonly tables?: ReadonlySet<string>;
  /** @param seed of the dropout masks; without one nothing is dropped */
  gradients(rows: readonly R[], parameters: TensorSet, seed?: string): Promise<Gradients>;
  /** What `gradients` gives for each portion, but for rounding, in one pass; one by one where it is absent. */
  gradientsTogether?(portions: readonly Portion<R>[]): Promise<readonly Gradients[]>;
  losses(rows: readonly R[], parameters: TensorSet): Promise<Losses>;
  /** Bytes that `gradients` holds at its peak beyond what stays, before anything runs; unknown where absent. */
  bytesOf?(rows: readonly R[], parameters: TensorSet): Promise<number>;
}

/**
 * A step's rows in micro-batches of at most `size`, rows of like length together, so that little is padding.
 * The step's result does not depend on how it is cut, but for rounding.
 */
export function microBatches<R extends Pick<Row, "length">>(rows: readonly R[], size: number): R[][] {
  const sorted = [...rows].sort((a, b) => a.length - b.length);
  return Array.from({ length: Math.ceil(sorted.length / size) }, (_, i) =>
    sorted.slice(i * size, (i + 1) * size),
  );
}

/** Gradients of each portion, in as few passes as the learner can. */
export async function gradientsOf<R extends Row>(
  learner: Learner<R>,
  portions: readonly Portion<R>[],
): Promise<readonly Gradients[]> {
  if (learner.gradientsTogether !== undefined && portions.length > 1)
    return learner.gradientsTogether(portions);
  const results: Gradients[] = [];
  for (const { rows, parameters, seed } of portions)
    results.push(await learner.gradients(rows, parameters, seed));
  return results;
}

/** @param what subject of the message: "Training" */
export function assertNotAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted === true) {
    throw new FedloomError("F2136", `${what} was stopped before its end`, {}, { cause: signal.reason });
  }
}
