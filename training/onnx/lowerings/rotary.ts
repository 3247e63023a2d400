/**
 * Rotary positions: pairs of each head's elements are turned by an angle that grows with the position.
 *
 *   y1 = x1 cos - x2 sin      y2 = x2 cos + x1 sin
 *
 * x1 and x2 are the halves of a head, or its even and odd elements where `interleaved`.
 * Sources: https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html and the runtime's ContribOperators.md
 */

import { rotatedByKernel } from "../forms/rotary.ts";
import { floatOf, intOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Call, Value } from "../program.ts";
import { refuse } from "../rules/rule.ts";
import { mergeHeads, splitHeads } from "./attend.ts";
import type { Lowering } from "./lowering.ts";

/** @param cos [B or 1, S, half] or [S, half]; likewise sin */
export function rotate(x: Value, cos: Value, sin: Value, interleaved: boolean, g: Maths): Value {
  const half = cos.shape.at(-1)!;
  const [batch, heads, length, size] = x.shape as [number, number, number, number];
  const tables = [cos, sin].map((table) =>
    table.shape.length === 3 ? table : g.reshape(table, [1, ...table.shape]),
  );
  const whole = rotatedByKernel(x, { cos: tables[0]!, sin: tables[1]! }, interleaved, g);
  if (whole !== undefined) return whole;
  const perHead = (table: Value): Value =>
    g.reshape(table, [table.shape.length === 3 ? table.shape[0]! : 1, 1, length, half]);
  const [c, s] = [perHead(cos), perHead(sin)];
  const turned = g.slice(x, 3, 0, 2 * half);
  const rest = size > 2 * half ? [g.slice(x, 3, 2 * half, size)] : [];
  const pairs = interleaved ? g.reshape(turned, [batch, heads, length, half, 2]) : turned;
  const part = (i: number): Value =>
    interleaved
      ? g.reshape(g.slice(pairs, 4, i, i + 1), [batch, heads, length, half])
      : g.slice(turned, 3, i * half, (i + 1) * half);
  const [x1, x2] = [part(0), part(1)];
  const y1 = g.sub(g.mul(x1, c), g.mul(x2, s));
  const y2 = g.add(g.mul(x2, c), g.mul(x1, s));
  if (!interleaved) return g.concat([y1, y2, ...rest], 3);
  const column = (y: Value): Value => g.reshape(y, [batch, heads, length, half, 1]);
  const woven = g.reshape(g.concat([column(y1), column(y2)], 4), [batch, heads, length, 2 * half]);
  return rest.length === 0 ? woven : g.concat([woven, ...rest], 3);
}

/** Rows of the tables [max, half] for position ids: [B, S] picks, [1] counts on from its value. */
export function tableRows(cache: Value, positions: Value, length: number, g: Maths): Value {
  if (positions.shape.length === 2) return g.gather(cache, positions, 0);
  const from0 = g.builder.integers(Array.from({ length }, (_, i) => i));
  return g.gather(cache, g.add(from0, g.cast(positions, "I64")), 0);
}

/** [B, S, heads * size] or [B, heads, S, size], as the operator takes it; the result has the same form. */
function onHeads(call: Call, x: Value, cos: Value, sin: Value, heads: number, g: Maths): Value {
  const interleaved = intOf(call, "interleaved", 0) === 1;
  if (x.shape.length === 4) return rotate(x, cos, sin, interleaved, g);
  return mergeHeads(rotate(splitHeads(x, heads, g), cos, sin, interleaved, g), g);
}

/** com.microsoft: (x, position_ids, cos_cache, sin_cache). */
export const msRotaryEmbedding: Lowering = {
  op: "RotaryEmbedding",
  domain: "com.microsoft",
  opset: [1, 1],
  lower(call, g) {
    const [x, positions, cos, sin] = call.inputs as [Value, Value, Value, Value];
    if (floatOf(call, "scale", 1) !== 1) refuse(call, "its scale must be 1");
    if (intOf(call, "is_packed_batching", 0) !== 0) refuse(call, "is_packed_batching must be 0");
    const length = x.shape.at(-2)!;
    const partial = intOf(call, "rotary_embedding_dim", 0);
    const size = partial > 0 ? partial : cos.shape[1]! * 2;
    const heads = intOf(call, "num_heads", 0) || x.shape.at(-1)! / size;
    const rows = (table: Value): Value => tableRows(table, positions, length, g);
    return [onHeads(call, x, rows(cos), rows(sin), heads, g)];
  },
};

/** Standard, opset 23: (x, cos_cache, sin_cache, position_ids); without ids the tables are [B, S, half] already. */
export const rotaryEmbedding: Lowering = {
  op: "RotaryEmbedding",
  domain: "",
  opset: [23, 24],
  lower(call, g) {
    const [x, cos, sin, positions] = call.inputs as [Value, Value, Value, Value | undefined];
    const length = x.shape.at(-2)!;
    const rows = (table: Value): Value => (positions ? tableRows(table, positions, length, g) : table);
    return [onHeads(call, x, rows(cos), rows(sin), intOf(call, "num_heads", 0), g)];
  },
};
