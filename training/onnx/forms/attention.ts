/** Attention that an exporter wrote in parts, where its mask lets queries be taken in blocks (lowerings/attend.ts). */
import { intOf } from "../graph.ts";
import { attend, queryBlocks } from "../lowerings/attend.ts";
import type { Maths } from "../maths.ts";
import { axisOf, type Value } from "../program.ts";

/**
 * softmax(q·kᵀ + mask)·v
 *
 * @param weights [B, H, S, T], the softmax
 * @param values [B, K, T, E]: keys and values are not repeated
 */
export function blockedAttention(weights: Value, values: Value, g: Maths): Value | undefined {
  const softmax = weights.from;
  const sum = softmax?.inputs[0]?.from;
  if (softmax?.op !== "Softmax" || sum?.op !== "Add" || weights.shape.length !== 4) return undefined;
  if (axisOf(intOf(softmax, "axis", -1), 4) !== 3 || values.shape.length !== 4) return undefined;
  for (const side of [0, 1]) {
    const [scores, mask] = [sum.inputs[side]!, sum.inputs[1 - side]!];
    const product = (scores.from?.op === "Reshape" ? scores.from.inputs[0]! : scores).from;
    if (product?.op !== "MatMul" || `${scores.shape}` !== `${weights.shape}`) continue;
    const [rows, turned] = product.inputs as [Value, Value];
    const [batch, heads, length, keys] = weights.shape as [number, number, number, number];
    const size = rows.shape.at(-1)!;
    const keyHeads = values.shape[1]!;
    const fits =
      `${turned.shape}` === `${[batch, keyHeads, size, keys]}` &&
      `${rows.shape}` === `${[batch, keyHeads, (heads / keyHeads) * length, size]}`;
    if (!fits || queryBlocks(mask, length, keys, g) === undefined) continue;
    const q = g.reshape(rows, [batch, heads, length, size]);
    return attend(q, g.transposeLast(turned), values, { scale: 1, bias: mask }, g);
  }
  return undefined;
}
