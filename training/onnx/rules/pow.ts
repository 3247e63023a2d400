/**
 * Y = A^P.
 *
 *   dA = dY P A^(P-1)      dP = dY Y ln A
 *
 * At A = 0 with an exponent of 1 or more nothing divides by A; dP is taken as 0 where A <= 0, as PyTorch does at 0.
 * Source: https://onnx.ai/onnx/operators/onnx__Pow.html
 */
import { uniformValue } from "../simplify.ts";
import type { GradientRule } from "./rule.ts";

export const pow: GradientRule = {
  op: "Pow",
  opset: [7, 24],
  backward(node, [dy], g) {
    const [a, p] = [node.inputs[0]!, node.inputs[1]!];
    const fixed = uniformValue(p);
    return [
      () => {
        if (fixed === 2) return g.sumTo(g.mul(g.mul(dy!, a), 2), a);
        const exponent = g.cast(p, a.type);
        const lower = g.op("Pow", [a, g.sub(exponent, g.scalar(1, a))]);
        return g.sumTo(g.mul(g.mul(dy!, exponent), lower), a);
      },
      () => {
        const positive = g.op("Greater", [a, g.scalar(0, a)]);
        const log = g.op("Log", [g.where(positive, a, g.scalar(1, a))]);
        return g.cast(g.sumTo(g.mul(g.mul(dy!, node.outputs[0]!), log), p), p.type);
      },
    ];
  },
};
