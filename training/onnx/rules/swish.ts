/**
 * y = x s, s = sigmoid(k x), which the runtime calls QuickGelu: y' = s + k y (1 - s).
 *
 * Both s and y are computed again on the way back: two cheap operations, and neither is kept from the forward
 * part, where gate activations are the widest values of a decoder.
 */
import { floatOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Value } from "../program.ts";
import type { GradientRule } from "./rule.ts";

export const quickGelu: GradientRule = {
  op: "QuickGelu",
  domain: "com.microsoft",
  opset: [1, 1],
  backward: (node, [dy], g) => [
    () => {
      const [y] = node.outputs as [Value];
      const k = floatOf(node, "alpha", 1.702);
      const s = g.op("Sigmoid", [g.mul(node.inputs[0]!, k)]);
      const slope = g.add(s, g.mul(g.mul(madeAgain(y, g), g.sub(g.scalar(1, y), s)), k));
      return g.mul(dy!, slope);
    },
  ],
};

/** A value to be read on the way back: the swish of its input is made anew, anything else is the value itself. */
export function madeAgain(value: Value, g: Maths): Value {
  const from = value.from;
  if (from?.op !== "QuickGelu" || from.domain !== "com.microsoft") return value;
  const x = from.inputs[0]!;
  return g.mul(x, g.op("Sigmoid", [g.mul(x, floatOf(from, "alpha", 1.702))]));
}
