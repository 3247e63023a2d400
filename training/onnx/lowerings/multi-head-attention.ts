/**
 * com.microsoft.MultiHeadAttention, and what is left of com.microsoft.Attention once its projection is a node
 * of its own (lower/attention.ts), without a past.
 * Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 */
import { floatOf, intOf, intsOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Call, Value } from "../program.ts";
import { refuse } from "../rules/rule.ts";
import { addBias, attend, causalBias, maskBias, mergeHeads, splitHeads } from "./attend.ts";
import type { Lowering } from "./lowering.ts";

export const multiHeadAttention: Lowering = {
  op: "MultiHeadAttention",
  domain: "com.microsoft",
  lower(call, g) {
    const [query, key, value, bias, mask, scores, pastKey] = call.inputs;
    if (pastKey !== undefined && pastKey.shape[2] !== 0) refuse(call, "its past must be empty");
    if (query!.shape.length !== 3 || !key || !value) refuse(call, "query, key and value must be separate");
    const widths = [query!.shape[2]!, key.shape[2]!, value.shape.at(-1)!];
    let at = 0;
    const parts = [query!, key, value].map((x, i) => {
      const from = at;
      at += widths[i]!;
      return bias ? g.add(x, g.slice(bias, 0, from, at)) : x;
    });
    return [attention(call, parts as [Value, Value, Value], mask, scores, g)];
  },
};

export const qkvAttention: Lowering = {
  op: "QkvAttention",
  domain: "fedloom",
  lower(call, g) {
    const [packed, mask, past, scores] = call.inputs;
    if (past !== undefined && past.shape.at(-2) !== 0) refuse(call, "its past must be empty");
    const width = packed!.shape[2]!;
    const sizes = intsOf(call, "qkv_hidden_sizes") ?? [width / 3, width / 3, width / 3];
    let at = 0;
    const parts = sizes.map((size) => {
      const from = at;
      at += size;
      return g.slice(packed!, 2, from, at);
    });
    return [attention(call, parts as [Value, Value, Value], mask, scores, g)];
  },
};

function attention(
  call: Call,
  [query, key, value]: readonly [Value, Value, Value],
  mask: Value | undefined,
  scores: Value | undefined,
  g: Maths,
): Value {
  if (mask !== undefined && mask.shape.length !== 2) refuse(call, "its mask must be [batch, keys]");
  if (intOf(call, "do_rotary", 0) === 1) refuse(call, "rotary positions inside it are not read");
  const heads = intOf(call, "num_heads", 0);
  const [q, k, v] = [query, key, value].map((x) => splitHeads(x, heads, g)) as [Value, Value, Value];
  const causal = intOf(call, "unidirectional", 0) === 1 ? causalBias(q, k.shape[2]!, 0, g) : undefined;
  const bias = addBias(addBias(causal, mask && maskBias(mask, q.type, g), g), scores, g);
  const scale = floatOf(call, "scale", 0) || 1 / Math.sqrt(q.shape[3]!);
  return mergeHeads(attend(q, k, v, { scale, bias }, g), g);
}
