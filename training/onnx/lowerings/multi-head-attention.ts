/**
 * com.microsoft.MultiHeadAttention, and what is left of com.microsoft.Attention once its projection is a node
 * of its own (lower/attention.ts), without a past.
 * Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 */
import { floatOf, intOf, intsOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Call, Value } from "../program.ts";
import { refuse } from "../rules/rule.ts";
import { addBias, attend, causalBias, lengthBias, maskBias, mergeHeads, splitHeads } from "./attend.ts";
import type { Lowering } from "./lowering.ts";

export const multiHeadAttention: Lowering = {
  op: "MultiHeadAttention",
  domain: "com.microsoft",
  opset: [1, 1],
  lower(call, g) {
    const [query, key, value, bias, mask, scores, pastKey] = call.inputs;
    if (pastKey !== undefined && pastKey.shape[2] !== 0) refuse(call, "its past must be empty");
    if (query!.shape.length !== 3 || !key || !value || key.shape.length === 5)
      refuse(call, "query, key and value must be separate");
    const heads = intOf(call, "num_heads", 0);
    const parts = [query!, key, value];
    const widths = parts.map((x) => (x.shape.length === 4 ? heads * x.shape[3]! : x.shape[2]!));
    let at = 0;
    const shifted = parts.map((x, i) => {
      const from = at;
      at += widths[i]!;
      if (bias === undefined) return x;
      const own = g.slice(bias, 0, from, at);
      return g.add(x, x.shape.length === 4 ? g.reshape(own, [heads, 1, x.shape[3]!]) : own);
    });
    return [attention(call, shifted as [Value, Value, Value], mask, scores, g)];
  },
};

export const qkvAttention: Lowering = {
  op: "QkvAttention",
  domain: "fedloom",
  opset: [1, 1],
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
  if (intOf(call, "do_rotary", 0) === 1) refuse(call, "rotary positions inside it are not read");
  const heads = intOf(call, "num_heads", 0);
  const [q, k, v] = [query, key, value].map((x) => (x.shape.length === 4 ? x : splitHeads(x, heads, g))) as [
    Value,
    Value,
    Value,
  ];
  const causal = intOf(call, "unidirectional", 0) === 1 ? causalBias(q, k.shape[2]!, 0, g) : undefined;
  const bias = addBias(addBias(causal, mask && biasOf(call, mask, k, g), g), scores, g);
  const scale = floatOf(call, "scale", 0) || 1 / Math.sqrt(q.shape[3]!);
  return mergeHeads(attend(q, k, v, { scale, bias }, g), g);
}

/** A mask counts real keys of each example [B], or marks keys [B, T] or pairs [B, S, T]. */
function biasOf(call: Call, mask: Value, k: Value, g: Maths): Value {
  const [batch, , keys] = k.shape as [number, number, number];
  if (mask.shape.length === 1 && mask.shape[0] === batch) return lengthBias(mask, keys, k.type, g);
  if (mask.shape.length !== 2 && mask.shape.length !== 3)
    refuse(
      call,
      `its mask must be [batch], [batch, keys] or [batch, length, keys], got [${mask.shape.join(", ")}]`,
    );
  return maskBias(mask, k.type, g);
}
