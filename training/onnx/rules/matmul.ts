/**
 * Y = A·B, leading axes broadcast as numpy does.
 *
 *   A [..., M, K]   B [..., K, N]   Y [..., M, N]
 *   dA = dY·Bᵀ      dB = Aᵀ·dY      each summed back over the axes that were broadcast
 *
 * With B of two dimensions the leading axes of A and dY are rows, and dB is one product instead of a sum.
 * Operands of rank 1 are refused; the exporters we support emit none.
 * Source: https://onnx.ai/onnx/operators/onnx__MatMul.html
 */
import type { Maths } from "../maths.ts";
import type { Value } from "../program.ts";
import { type GradientRule, refuse } from "./rule.ts";

/**
 * Aᵀ·dY, or (dYᵀ·A)ᵀ where dY is narrower: kernels read an operand across its rows far more slowly, and the result
 * is turned for nothing where it is turned again behind. For attention's weights [T, S] and rows of 64 that is half.
 */
function turnedTimes(a: Value, dy: Value, g: Maths): Value {
  return a.shape.at(-1)! > dy.shape.at(-1)!
    ? g.transposeLast(g.matMul(g.transposeLast(dy), a))
    : g.matMul(g.transposeLast(a), dy);
}

export const matMul: GradientRule = {
  op: "MatMul",
  opset: [1, 24],
  backward(node, [dy], g) {
    const [a, b] = [node.inputs[0]!, node.inputs[1]!];
    if (a.shape.length < 2 || b.shape.length < 2) refuse(node, "operands must have at least 2 dimensions");
    return [
      () => g.sumTo(g.matMul(dy!, g.transposeLast(b)), a),
      () =>
        b.shape.length === 2
          ? g.matMul(g.transposeLast(g.rows(a)), g.rows(dy!))
          : g.sumTo(turnedTimes(a, dy!, g), b),
    ];
  },
};
