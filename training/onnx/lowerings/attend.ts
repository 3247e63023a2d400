/**
 * Scaled dot-product attention in primitive operators, which all fused attentions come down to.
 *
 *   q [B, H, S, D]   k [B, K, T, D]   v [B, K, T, E]   ->   [B, H, S, E],  H a multiple of K
 *
 * Heads that share keys are stacked as rows of one product, so that keys and values are never repeated.
 */
import { scaledRotation } from "../forms/rotary.ts";
import { visiblePrefixes } from "../forms/visibility.ts";
import { int } from "../graph.ts";
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
  /** Scores become softcap tanh(score / softcap), before the bias is added; 0 for none. */
  readonly softcap?: number;
  /** Logits that take a share of every row's attention and give nothing, [H] or one for all heads. */
  readonly sink?: Value | undefined;
}

/** Fewer queries than this are not worth a block: two blocks of 128 cost 9 % more than one of 256, measured. */
const BLOCK_ROWS = 256;
const MOST_BLOCKS = 8;
/** Share of the scores that blocks must spare. */
const LEAST_SPARED = 0.1;

export interface QueryBlock {
  readonly from: number;
  readonly to: number;
  /** How many of the first keys hold all that these queries may see. */
  readonly keys: number;
}

/** Queries in blocks of which each sees a prefix of the keys, as under a causal mask; undefined where that spares too little. */
export function queryBlocks(
  bias: Value,
  length: number,
  keys: number,
  g: Maths,
): readonly QueryBlock[] | undefined {
  const count = Math.min(MOST_BLOCKS, Math.floor(length / BLOCK_ROWS));
  if (count < 2 || `${bias.shape.slice(-2)}` !== `${[length, keys]}`) return undefined;
  const prefixes = g.builder.once(bias, visiblePrefixes);
  const blocks = Array.from({ length: count }, (_, i): QueryBlock => {
    const [from, to] = [i, i + 1].map((n) => Math.round((n * length) / count)) as [number, number];
    return { from, to, keys: Math.max(1, ...prefixes.slice(from, to)) };
  });
  const computed = blocks.reduce((sum, block) => sum + (block.to - block.from) * block.keys, 0);
  return computed > (1 - LEAST_SPARED) * length * keys ? undefined : blocks;
}

/**
 * Under a causal mask queries are taken in blocks: scores that no softmax gives any weight are not computed. (A
 * row that may see nothing at all is spread over its block's keys, not over all: it has no meaning either way.)
 */
export function attend(q: Value, k: Value, v: Value, options: AttendOptions, g: Maths): Value {
  const scaled = scaledRotation(q, options.scale, g) ?? g.mul(q, options.scale);
  const { bias } = options;
  const blocks = bias && queryBlocks(bias, q.shape[2]!, k.shape[2]!, g);
  if (blocks === undefined) return attendAll(scaled, k, v, options, g);
  const rank = bias!.shape.length;
  return g.concat(
    blocks.map(({ from, to, keys }) => {
      const own = g.slice(g.slice(bias!, rank - 2, from, to), rank - 1, 0, keys);
      const [seen, values] = [g.slice(k, 2, 0, keys), g.slice(v, 2, 0, keys)];
      return attendAll(g.slice(scaled, 2, from, to), seen, values, { ...options, bias: own }, g);
    }),
    2,
  );
}

/** @param q scaled already */
function attendAll(q: Value, k: Value, v: Value, options: AttendOptions, g: Maths): Value {
  const [batch, heads, length, size] = q.shape as [number, number, number, number];
  const [, keyHeads, keys] = k.shape as [number, number, number, number];
  const group = heads / keyHeads;
  const stacked = g.reshape(q, [batch, keyHeads, group * length, size]);
  let scores = g.reshape(g.matMul(stacked, g.transposeLast(k)), [batch, heads, length, keys]);
  const cap = options.softcap ?? 0;
  if (cap !== 0) scores = g.mul(g.op("Tanh", [g.mul(scores, 1 / cap)]), cap);
  if (options.bias !== undefined) scores = g.add(scores, options.bias);
  const weights = options.sink ? withSink(scores, options.sink, g) : softmax(scores, g);
  const rows = g.reshape(weights, [batch, keyHeads, group * length, keys]);
  return g.reshape(g.matMul(rows, v), [batch, heads, length, v.shape[3]!]);
}

const softmax = (scores: Value, g: Maths): Value => g.op("Softmax", [scores], { axis: int(-1) });

function withSink(scores: Value, sink: Value, g: Maths): Value {
  const [batch, heads, length, keys] = scores.shape as [number, number, number, number];
  const column = g.expand(g.reshape(g.cast(sink, scores.type), [1, sink.shape[0] ?? 1, 1, 1]), [
    batch,
    heads,
    length,
    1,
  ]);
  return g.slice(softmax(g.concat([scores, column], 3), g), 3, 0, keys);
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

/** 0 where a mask is not 0, hidden else: [B, T] for keys, [B, S, T] for pairs. [B, 1, 1 or S, T] */
export function maskBias(mask: Value, type: ElementType, g: Maths): Value {
  const isHidden = g.op("Equal", [g.cast(mask, "I64"), g.builder.scalar(0, "I64")]);
  return biasWhere(isHidden, type, g);
}

/** 0 for the first keys of each example, as many as its length [B] says, hidden else. [B, 1, 1, T] */
export function lengthBias(lengths: Value, keys: number, type: ElementType, g: Maths): Value {
  const batch = lengths.shape[0]!;
  const positions = g.builder.integers(Array.from({ length: keys }, (_, i) => i));
  const isHidden = g.op("LessOrEqual", [g.reshape(g.cast(lengths, "I64"), [batch, 1]), positions]);
  return biasWhere(isHidden, type, g);
}

function biasWhere(isHidden: Value, type: ElementType, g: Maths): Value {
  const bias = g.where(isHidden, g.builder.scalar(hidden(type), type), g.builder.scalar(0, type));
  const [batch, ...rest] = isHidden.shape as [number, ...number[]];
  return g.reshape(bias, rest.length === 1 ? [batch, 1, 1, ...rest] : [batch, 1, ...rest]);
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
