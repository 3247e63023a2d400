/**
 * The runtime's rotary kernel: each pair of elements is turned by an angle, so the gradient is turned back.
 *
 *   y = R x      dx = Rᵀ dy, which is the same kernel with -sin
 *
 * It is linear in the tables too; graphs that train their frequencies keep the parts instead, so that is refused.
 */
import type { Value } from "../program.ts";
import { type GradientRule, refuse } from "./rule.ts";

export const rotaryKernel: GradientRule = {
  op: "RotaryEmbedding",
  domain: "com.microsoft",
  opset: [1, 1],
  backward: (node, [dy], g) => {
    const [, ids, cos, sin] = node.inputs as [Value, Value, Value, Value];
    const refused = (): never => refuse(node, "its tables must not be trained");
    return [
      () => g.op(node.op, [dy!, ids, cos, g.neg(sin)], node.attributes, node.domain),
      null,
      refused,
      refused,
    ];
  },
};
