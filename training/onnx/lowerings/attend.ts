/**
 * Scaled dot-product attention in primitive operators, which all fused attentions come down to.
 *
 *   q [B, H, S, D]   k [B, K, T, D]   v [B, K, T, E]   ->   [B, H, S, E],  H a multiple of K
 *
 * Heads that share keys are stacked as rows of one product, so that keys and values are never repeated.
 */
import type { Maths } from "../maths.ts";
import { weightFrom } from "../numbers.ts";
import type { Value } from "../program.ts";
import type { ElementType } from "../weight.ts";

/** What is added where a position must not be seen: the smallest number, not -Infinity, which makes a row of them NaN. */
export const hidden = (type: ElementType): number => (type === "F16" ? -65504 : -3.4028234663852886e38);

export interface AttendOptions {
  readonly scale: number;
  /** Added to the scores; broadcasts to [B, H, S, T]. */
  readonly bias?: Value | undefined;
  /** Scores become softcap tanh(score / softcap); 0 for none. */
  readonly softcap?: number;
}

export function attend(q: Value, k: Value, v: Value, options: AttendOptions, g: Maths): Value {
  const [batch, heads, length, size] = q.shape as [number, number, number, number];
  const [, keyHeads, keys] = k.shape as [number, number, number, number];
  const group = heads / keyHeads;
  const stacked = g.reshape(g.mul(q, options.scale), [batch, keyHeads, group * length, size]);
  let scores = g.reshape(g.matMul(stacked, g.transposeLast(k)), [batch, heads, length, keys]);
  const cap = options.softcap ?? 0;
  if (cap !== 0) scores = g.mul(g.op("Tanh", [g.mul(scores, 1 / cap)]), cap);
  if (options.bias !== undefined) scores = g.add(scores, options.bias);
  const weights = g.op("Softmax", [scores], { axis: { kind: "int", value: -1 } });
  const rows = g.reshape(weights, [batch, keyHeads, group * length, keys]);
  return g.reshape(g.matMul(rows, v), [batch, heads, length, v.shape[3]!]);
}

/** 0 where position i may see position j, hidden else: j <= i, and i - j < window where one is given. [1, 1, S, T] */
export function causalBias(q: Value, keys: number, window: number, g: Maths): Value {
  const length = q.shape[2]!;
  const data = new Float64Array(length * keys);
  const past = keys - length;
  for (let i = 0; i < length; i++)
    for (let j = 0; j < keys; j++)
      if (j > i + past || (window > 0 && i + past - j >= window)) data[i * keys + j] = hidden(q.type);
  return g.builder.constant(weightFrom({ type: q.type, shape: [1, 1, length, keys], data }));
}

/** 0 where a key mask [B, T] is not 0, hidden else. [B, 1, 1, T] */
export function maskBias(mask: Value, type: ElementType, g: Maths): Value {
  const [batch, keys] = mask.shape as [number, number];
  const isHidden = g.op("Equal", [g.cast(mask, "I64"), g.builder.scalar(0, "I64")]);
  const bias = g.where(isHidden, g.builder.scalar(hidden(type), type), g.builder.scalar(0, type));
  return g.reshape(bias, [batch, 1, 1, keys]);
}

export function addBias(a: Value | undefined, b: Value | undefined, g: Maths): Value | undefined {
  return a !== undefined && b !== undefined ? g.add(a, b) : (a ?? b);
}

/** [B, S, heads * size] -> [B, heads, S, size] */
export function splitHeads(x: Value, heads: number, g: Maths): Value {
  const [batch, length, width] = x.shape as [number, number, number];
  return g.transpose(g.reshape(x, [batch, length, heads, width / heads]), [0, 2, 1, 3]);
}

/** [B, heads, S, size] -> [B, S, heads * size] */
export function mergeHeads(x: Value, g: Maths): Value {
  const [batch, heads, length, size] = x.shape as [number, number, number, number];
  return g.reshape(g.transpose(x, [0, 2, 1, 3]), [batch, length, heads * size]);
}
