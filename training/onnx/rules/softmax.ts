/**
 * Softmax and LogSoftmax along one axis.
 *
 *   y = softmax(x):      dx = y (dy - Σ dy y)
 *   y = log softmax(x):  dx = dy - e^y Σ dy
 *
 * A row in which everything is -Infinity is NaN, and exporters of PyTorch put Where(IsNaN(y), 0, y) behind: then y is what
 * comes out of that, or 0 · NaN on the way back would spread what the guard had taken out.
 * Source: https://onnx.ai/onnx/operators/onnx__Softmax.html
 */
import { intOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { permOf } from "../operators/layout.ts";
import { axisOf, type Operation, type Value } from "../program.ts";
import type { GradientRule, Surroundings } from "./rule.ts";

const axisOfNode = (node: Operation): number => axisOf(intOf(node, "axis", -1), node.inputs[0]!.shape.length);

export const softmax: GradientRule = {
  op: "Softmax",
  opset: [1, 24],
  backward: (node, [dy], g, around) => [
    () => {
      const y = guarded(node.outputs[0]!, around);
      const sum = sumOverProduct(node, y, g, around) ?? g.reduceSum(g.mul(dy!, y), [axisOfNode(node)]);
      return g.mul(y, g.sub(dy!, sum));
    },
  ],
};

/** y behind its guard against NaN, or y itself. */
function guarded(y: Value, around: Surroundings): Value {
  const guard = around.readers(y).find(({ op, inputs: [condition, , other] }) => {
    return op === "Where" && other === y && condition?.from?.op === "IsNaN" && condition.from.inputs[0] === y;
  });
  return guard?.outputs[0] ?? y;
}

/**
 * Σ_j dy_ij y_ij where y is only the left factor of a product O = y·V, as in attention: then dy = dO·Vᵀ, and
 * the sum is Σ_d dO_id O_id, over D elements a row instead of as many as there are positions.
 */
function sumOverProduct(node: Operation, y: Value, g: Maths, around: Surroundings): Value | undefined {
  let factor = y;
  let [reader, ...others] = around.readers(y);
  if (reader?.op === "Reshape" && others.length === 0) {
    factor = reader.outputs[0]!;
    if (factor.shape.at(-1) !== y.shape.at(-1)) return undefined;
    [reader, ...others] = around.readers(factor);
  }
  if (reader?.op !== "MatMul" || others.length > 0 || reader.inputs[0] !== factor) return undefined;
  if (reader.inputs[1] === factor || axisOfNode(node) !== y.shape.length - 1) return undefined;
  const product = reader.outputs[0]!;
  // A product that was broadcast has more rows than y.
  if (product.shape.slice(0, -1).join() !== factor.shape.slice(0, -1).join()) return undefined;
  return merged(product, node, g, around) ?? summed(product, y, g, around);
}

function summed(product: Value, y: Value, g: Maths, around: Surroundings): Value | undefined {
  const dProduct = around.gradientOf(product);
  if (dProduct === undefined) return undefined;
  const sum = g.reduceSum(g.mul(dProduct, product), [product.shape.length - 1]);
  return g.reshape(sum, [...y.shape.slice(0, -1), 1]);
}

/** The same from O with heads merged, [B, S, H, D], which is kept anyway where the next layer carries LoRA. */
function merged(product: Value, node: Operation, g: Maths, around: Surroundings): Value | undefined {
  const { shape } = node.outputs[0]!;
  if (shape.length !== 4) return undefined;
  let [reader, ...others] = around.readers(product);
  if (reader?.op === "Reshape" && others.length === 0)
    [reader, ...others] = around.readers(reader.outputs[0]!);
  if (reader?.op !== "Transpose" || others.length > 0 || `${permOf(reader)}` !== "0,2,1,3") return undefined;
  const turned = reader.outputs[0]!;
  const dTurned = around.gradientOf(turned);
  if (dTurned === undefined || `${turned.shape.slice(0, 3)}` !== `${[shape[0], shape[2], shape[1]]}`)
    return undefined;
  return g.transpose(g.reduceSum(g.mul(dTurned, turned), [3]), [0, 2, 1, 3]);
}

export const logSoftmax: GradientRule = {
  op: "LogSoftmax",
  opset: [1, 24],
  backward: (node, [dy], g) => [
    () => {
      const sum = g.reduceSum(dy!, [axisOfNode(node)]);
      return g.sub(dy!, g.mul(g.op("Exp", [node.outputs[0]!]), sum));
    },
  ],
};
