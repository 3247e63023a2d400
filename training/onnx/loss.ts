/**
 * Cross-entropy of rows of logits, and its gradient with respect to them, as operations.
 *
 *   p = softmax(x)        loss = Σ_i w_i (log Σ_j e^{x_ij} - x_i,label)        d loss / d x = w (p - onehot)
 *
 * log Σ e^x is taken as max x - log max p, which cannot overflow and needs no second pass of exponentials.
 * One is subtracted at the labels' places instead of multiplying a one-hot matrix.
 *
 * Many rows are taken in groups, from the projection onto the vocabulary on, so that the logits of all of them, the
 * largest value of a step, are never there at once.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { int, string } from "./graph.ts";
import type { Maths } from "./maths.ts";
import type { Value } from "./program.ts";
import { byteSize } from "./weight.ts";

/** Logits of one group at most. Fewer rows would read the projection's weight more often than they save. */
const GROUP_BYTES = 32 * 2 ** 20;

export interface Loss {
  /** Of each row, weighted, [n, 1]. */
  readonly rows: Value;
  /** Sum over the rows, [1]. */
  readonly sum: Value;
  /** Logits and the loss's gradient with respect to them, float32, of the same shape; together all rows. */
  readonly dLogits: readonly (readonly [Value, Value])[];
}

/**
 * @param output logits [..., classes]
 * @param labels I64 [n, 1]
 * @param weights [n, 1]: 1 for a label, 0 for a row that only fills up
 */
export function lossOf(output: Value, labels: Value, weights: Value, g: Maths): Loss {
  const count = labels.shape[0]!;
  const part = (value: Value, from: number, to: number): Value => g.slice(value, 0, from, to);
  const groups = groupsOf(output, count, g)?.map(({ from, to, logits }) => ({
    logits,
    ...crossEntropy(logits, part(labels, from, to), part(weights, from, to), true, g),
  })) ?? [{ logits: output, ...crossEntropy(g.rows(output), labels, weights, false, g) }];
  const all = groups.map(({ rows }) => rows);
  const rows = all.length === 1 ? all[0]! : g.concat(all, 0);
  return {
    rows,
    sum: g.reshape(g.reduceSum(rows, [0, 1], false), [1]),
    dLogits: groups.map(({ logits, dx }) => [logits, g.reshape(dx, logits.shape)]),
  };
}

interface Group {
  readonly from: number;
  readonly to: number;
  readonly logits: Value;
}

/** The logits of groups of rows, each from its own product; undefined where one is enough or none can be made. */
function groupsOf(output: Value, count: number, g: Maths): readonly Group[] | undefined {
  const groups = Math.ceil(byteSize("F32", [count, output.shape.at(-1)!]) / GROUP_BYTES);
  const from = output.from?.op === "Reshape" ? output.from.inputs[0]!.from : output.from;
  const [x, weight] = from?.inputs ?? [];
  const isProduct = from?.op === "MatMul" || (from?.op === "Gemm" && from.attributes.transA === undefined);
  if (groups < 2 || !isProduct || !x || weight?.shape.length !== 2 || from.inputs[2] !== undefined)
    return undefined;
  if (sizeOf(x.shape.slice(0, -1)) !== count) return undefined;
  return Array.from({ length: groups }, (_, i): Group => {
    const [start, end] = [i, i + 1].map((n) => Math.round((n * count) / groups)) as [number, number];
    const logits = g.op(from.op, [g.slice(g.rows(x), 0, start, end), weight], from.attributes);
    return { from: start, to: end, logits };
  });
}

/** @param tied computes the loss before the gradient goes on, so that what both are made of can be forgotten */
function crossEntropy(
  logits: Value,
  labels: Value,
  weights: Value,
  tied: boolean,
  g: Maths,
): { readonly rows: Value; readonly dx: Value } {
  const x = g.cast(logits, "F32");
  const p = g.op("Softmax", [x], { axis: int(-1) });
  const logSum = g.sub(g.reduceMax(x, [1]), g.op("Log", [g.reduceMax(p, [1])]));
  const atLabel = g.op("GatherElements", [x, labels], { axis: int(1) });
  const rows = g.mul(g.sub(logSum, atLabel), weights);
  const one = tied ? g.sub(g.mul(rows, 0), weights) : g.neg(weights);
  const dx = g.op("ScatterElements", [g.mul(p, weights), labels, one], {
    axis: int(1),
    reduction: string("add"),
  });
  return { rows, dx };
}
