/**
 * Y = A·B, leading axes broadcast as numpy does.
 *
 *   A [..., M, K]   B [..., K, N]   Y [..., M, N]
 *   dA = dY·Bᵀ      dB = Aᵀ·dY      each summed back over the axes that were broadcast
 *
 * With B of two dimensions the leading axes of A and dY are rows, and dB is one product instead of a sum. An operand of
 * rank 1 is a row of A or a column of B, which Y has no axis for.
 * Source: https://onnx.ai/onnx/operators/onnx__MatMul.html
 */
import type { Maths } from "../maths.ts";
import { permOf } from "../operators/layout.ts";
import type { Value } from "../program.ts";
import type { GradientRule } from "./rule.ts";

/**
 * Aᵀ·dY, or (dYᵀ·A)ᵀ where B's rows were made columns on the way here, which is undone behind: whichever of the two needs
 * nothing moved. For attention's weights [T, S] and rows of 64 they take the same time.
 */
function turnedTimes(a: Value, dy: Value, b: Value, g: Maths): Value {
  const wasTurned = b.from?.op === "Transpose" && permOf(b.from).at(-1) !== b.shape.length - 1;
  return wasTurned ? g.transposeLast(g.matMul(g.transposeLast(dy), a)) : g.matMul(g.transposeLast(a), dy);
}

/** Axes in front of the matrices. */
const broadcastRank = (a: Value, b: Value): number => Math.max(a.shape.length, b.shape.length) - 2;

export const matMul: GradientRule = {
  op: "MatMul",
  opset: [1, 24],
  backward(node, [dy], g) {
    const [row, column] = [node.inputs[0]!, node.inputs[1]!];
    const a = row.shape.length === 1 ? g.reshape(row, [1, ...row.shape]) : row;
    const b = column.shape.length === 1 ? g.reshape(column, [...column.shape, 1]) : column;
    const batch = dy!.shape.slice(0, broadcastRank(a, b));
    const slope = g.reshape(dy!, [...batch, a.shape.at(-2)!, b.shape.at(-1)!]);
    const da = (): Value => g.sumTo(g.matMul(slope, g.transposeLast(b)), a);
    const db = (): Value =>
      b.shape.length === 2
        ? g.matMul(g.transposeLast(g.rows(a)), g.rows(slope))
        : g.sumTo(turnedTimes(a, slope, b, g), b);
    return [() => g.reshape(da(), row.shape), () => g.reshape(db(), column.shape)];
  },
};
