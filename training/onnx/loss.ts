/**
 * Cross-entropy of rows of logits, and its gradient with respect to them, as operations.
 *
 *   p = softmax(x)        loss = Σ_i w_i (log Σ_j e^{x_ij} - x_i,label)        d loss / d x = w (p - onehot)
 *
 * log Σ e^x is taken as max x - log max p, which cannot overflow and needs no second pass of exponentials.
 * One is subtracted at the labels' places instead of multiplying a one-hot matrix.
 */
import { int, string } from "./graph.ts";
import type { Maths } from "./maths.ts";
import type { Value } from "./program.ts";

export interface Loss {
  /** Of each row, weighted, [n, 1]. */
  readonly rows: Value;
  /** Sum over the rows, [1]. */
  readonly sum: Value;
  /** Its gradient with respect to the logits, float32. */
  readonly dLogits: Value;
}

/**
 * @param logits [n, classes]
 * @param labels I64 [n, 1]
 * @param weights [n, 1]: 1 for a label, 0 for a row that only fills up
 */
export function crossEntropy(logits: Value, labels: Value, weights: Value, g: Maths): Loss {
  const x = g.cast(logits, "F32");
  const p = g.op("Softmax", [x], { axis: int(-1) });
  const logSum = g.sub(g.reduceMax(x, [1]), g.op("Log", [g.reduceMax(p, [1])]));
  const atLabel = g.op("GatherElements", [x, labels], { axis: int(1) });
  const rows = g.mul(g.sub(logSum, atLabel), weights);
  const sum = g.reduceSum(rows, [0, 1], false);
  const dx = g.op("ScatterElements", [g.mul(p, weights), labels, g.neg(weights)], {
    axis: int(1),
    reduction: string("add"),
  });
  return { rows, sum: g.reshape(sum, [1]), dLogits: dx };
}
