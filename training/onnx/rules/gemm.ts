/**
 * Y = alpha A'·B' + beta C, A' and B' transposed where transA and transB say so.
 *
 *   dA' = alpha dY·B'ᵀ      dB' = alpha A'ᵀ·dY      dC = beta dY, summed back over broadcast axes
 *
 * Source: https://onnx.ai/onnx/operators/onnx__Gemm.html
 */
import { floatOf, intOf } from "../graph.ts";
import type { GradientRule } from "./rule.ts";

export const gemm: GradientRule = {
  op: "Gemm",
  opset: [7, 24],
  backward(node, [dy], g) {
    const [a, b, c] = [node.inputs[0]!, node.inputs[1]!, node.inputs[2]];
    const alpha = floatOf(node, "alpha", 1);
    const turned = (value: typeof a, attribute: string) =>
      intOf(node, attribute, 0) === 1 ? g.transposeLast(value) : value;
    return [
      () => turned(g.mul(g.matMul(dy!, g.transposeLast(turned(b, "transB"))), alpha), "transA"),
      () => turned(g.mul(g.matMul(g.transposeLast(turned(a, "transA")), dy!), alpha), "transB"),
      c === undefined ? null : () => g.sumTo(g.mul(dy!, floatOf(node, "beta", 1)), c),
    ];
  },
};
