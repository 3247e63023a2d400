/**
 * com.microsoft.GroupQueryAttention without a past: causal attention, with norms of queries and keys and rotary
 * positions inside on request.
 *
 * Its lengths say how many positions of each example are real. With padding on the right a real position
 * sees real ones only, so causality alone is right; what padded positions compute is not defined.
 * Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 */
import { rmsNormalized } from "../forms/rms-norm.ts";
import { floatOf, intOf, stringOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Call, Value } from "../program.ts";
import { refuse } from "../rules/rule.ts";
import { addBias, attend, causalBias, lengthBias, mergeHeads, splitHeads } from "./attend.ts";
import type { Lowering } from "./lowering.ts";
import { rotate, tableRows } from "./rotary.ts";

export const groupQueryAttention: Lowering = {
  op: "GroupQueryAttention",
  domain: "com.microsoft",
  opset: [1, 1],
  lower(call, g) {
    const [packed, key, value, pastKey] = call.inputs;
    const [cos, sin, positions, bias, sink, , , queryNorm, keyNorm] = call.inputs.slice(7);
    if (pastKey !== undefined && pastKey.shape[2] !== 0) refuse(call, "its past must be empty");
    if (intOf(call, "qk_output", 0) !== 0) refuse(call, "its scores must not be an output");
    for (const name of ["k_quant_type", "v_quant_type"])
      if (stringOf(call, name, "NONE") !== "NONE") refuse(call, `its cache must not be quantized`);
    const smooth = intOf(call, "smooth_softmax", 0) === 1;
    const [heads, keyHeads] = [intOf(call, "num_heads", 0), intOf(call, "kv_num_heads", 0)];
    const parts = key && value ? [packed!, key, value] : columns(packed!, [heads, keyHeads, keyHeads], g);
    let q = normalized(call, splitHeads(parts[0]!, heads, g), queryNorm, g);
    let k = normalized(call, splitHeads(parts[1]!, keyHeads, g), keyNorm, g);
    const v = splitHeads(parts[2]!, keyHeads, g);
    const length = q.shape[2]!;
    if (intOf(call, "do_rotary", 0) === 1) {
      [q, k] = rotated(call, [q, k], { cos: cos!, sin: sin!, positions }, g);
    }
    const causal =
      intOf(call, "causal", 1) === 1
        ? causalBias(q, length, intOf(call, "local_window_size", -1), g)
        : paddingBias(call, q, g);
    const scale = floatOf(call, "scale", 0) || 1 / Math.sqrt(q.shape[3]!);
    const options = {
      scale,
      bias: addBias(causal, bias, g),
      softcap: floatOf(call, "softcap", 0),
      sink: sink ?? (smooth ? g.scalar(0, q) : undefined),
    };
    return [mergeHeads(attend(q, k, v, options, g), g)];
  },
};

/** Each head under the norm that Qwen3 and Gemma 3 put before the rotary positions. */
function normalized(call: Call, x: Value, scale: Value | undefined, g: Maths): Value {
  return scale ? rmsNormalized(x, scale, -1, floatOf(call, "qk_norm_epsilon", 1e-6), g) : x;
}

/** Without a causal mask padding on the right is hidden by the lengths, which the operator takes less one. */
function paddingBias(call: Call, q: Value, g: Maths): Value {
  const last = g.cast(call.inputs[5]!, "I64");
  const [batch, , length] = q.shape as [number, number, number];
  const lengths = g.add(g.reshape(last, [batch]), g.builder.scalar(1, "I64"));
  return lengthBias(lengths, length, q.type, g);
}

function rotated(
  call: Call,
  [q, k]: readonly [Value, Value],
  { cos, sin, positions }: { cos: Value; sin: Value; positions: Value | undefined },
  g: Maths,
): [Value, Value] {
  const length = q.shape[2]!;
  const rows = (table: Value): Value =>
    positions ? tableRows(table, positions, length, g) : g.slice(table, 0, 0, length);
  const [c, s] = [rows(cos), rows(sin)];
  const interleaved = intOf(call, "rotary_interleaved", 0) === 1;
  return [rotate(q, c, s, interleaved, g), rotate(k, c, s, interleaved, g)];
}

/** The parts of a packed projection, in proportion to their heads. */
function columns(packed: Value, heads: readonly number[], g: Maths): Value[] {
  const size = packed.shape[2]! / heads.reduce((sum, count) => sum + count, 0);
  let at = 0;
  return heads.map((count) => {
    const from = at;
    at += count * size;
    return g.slice(packed, 2, from, at);
  });
}
