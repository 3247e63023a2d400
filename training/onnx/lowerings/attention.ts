/**
 * Attention of the standard (opset 23, 24) without a past.
 *
 * Source: https://onnx.ai/onnx/operators/onnx__Attention.html
 */
import { floatOf, intOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Value } from "../program.ts";
import { refuse } from "../rules/rule.ts";
import { addBias, attend, causalBias, hidden, lengthBias, mergeHeads, splitHeads } from "./attend.ts";
import type { Lowering } from "./lowering.ts";

/** A mask of fewer keys than there are hides the others. */
function padded(bias: Value, keys: number, value: number, g: Maths): Value {
  const own = bias.shape.at(-1)!;
  if (own === keys || own === 1) return bias;
  const shape = [...bias.shape.slice(0, -1), keys - own];
  return g.concat([bias, g.expand(g.scalar(value, bias), shape)], bias.shape.length - 1);
}

export const attention: Lowering = {
  op: "Attention",
  domain: "",
  opset: [23, 24],
  lower(call, g) {
    const [query, key, value, mask, pastKey, , lengths] = call.inputs;
    if (pastKey !== undefined && pastKey.shape[2] !== 0) refuse(call, "its past must be empty");
    if (intOf(call, "qk_matmul_output_mode", 0) !== 0) refuse(call, "its scores must not be an output");
    const flat = query!.shape.length === 3;
    const heads = (x: Value, attribute: string): Value =>
      flat ? splitHeads(x, intOf(call, attribute, 0), g) : x;
    const q = heads(query!, "q_num_heads");
    const k = heads(key!, "kv_num_heads");
    const v = heads(value!, "kv_num_heads");
    const causal = intOf(call, "is_causal", 0) === 1 ? causalBias(q, k.shape[2]!, 0, g) : undefined;
    const given = mask?.type === "BOOL" ? g.where(mask, g.scalar(0, q), g.scalar(hidden(q.type), q)) : mask;
    const seen = given && padded(given, k.shape[2]!, hidden(q.type), g);
    const scale = floatOf(call, "scale", 0) || 1 / Math.sqrt(q.shape[3]!);
    const padding = lengths && lengthBias(lengths, k.shape[2]!, q.type, g);
    const bias = addBias(addBias(causal, padding, g), seen, g);
    const options = { scale, bias, softcap: floatOf(call, "softcap", 0) };
    const result = attend(q, k, v, options, g);
    return [flat ? mergeHeads(result, g) : result];
  },
};
