/**
 * y = x s, s = sigmoid(k x), which the runtime calls QuickGelu: y' = s (1 + k x (1 - s)), where x (1 - s) = x sigmoid(-k x)
 * is the same kernel with -k.
 *
 * s is computed again on the way back: one cheap operation, and neither s nor y is kept from the forward part, where
 * gate activations are the widest values of a decoder.
 */
import { float, floatOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Operation, Value } from "../program.ts";
import type { GradientRule } from "./rule.ts";

const OP = "QuickGelu";
const DOMAIN = "com.microsoft";
const factorOf = (node: Operation): number => floatOf(node, "alpha", 1.702);

export const quickGelu: GradientRule = {
  op: OP,
  domain: DOMAIN,
  opset: [1, 1],
  backward: (node, [dy], g) => [
    () => {
      const k = factorOf(node);
      const rest = g.op(OP, [node.inputs[0]!], { alpha: float(-k) }, DOMAIN);
      return g.mul(timesSigmoid(dy!, node, g), g.add(g.mul(rest, k), g.scalar(1, rest)));
    },
  ],
};

/** dy s. In a gate y u, where dy = dz u, dz s is what the gradient of u begins with too (`timesAgain`). */
function timesSigmoid(dy: Value, node: Operation, g: Maths): Value {
  const s = g.op("Sigmoid", [g.mul(node.inputs[0]!, factorOf(node))]);
  const gate = dy.from?.op === "Mul" && dy.from.domain === "" ? dy.from : undefined;
  const [dz, u] = gate?.inputs ?? [];
  return dz && u && `${dz.shape}` === `${s.shape}` ? g.mul(g.mul(dz, s), u) : g.mul(dy, s);
}

/** dz times a value that was kept or, where it is the swish y = x s of something, (dz s) x with s made again. */
export function timesAgain(dz: Value, value: Value, g: Maths): Value {
  const from = value.from;
  if (from?.op !== OP || from.domain !== DOMAIN) return g.mul(dz, value);
  return g.mul(timesSigmoid(dz, from, g), from.inputs[0]!);
}
