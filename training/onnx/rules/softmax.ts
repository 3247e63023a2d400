/**
 * Softmax and LogSoftmax along one axis.
 *
 *   y = softmax(x):      dx = y (dy - Σ dy y)
 *   y = log softmax(x):  dx = dy - e^y Σ dy
 *
 * Below opset 13 both worked on all axes from `axis` on; such nodes are refused unless it is the last.
 * Source: https://onnx.ai/onnx/operators/onnx__Softmax.html
 */
import { intOf } from "../graph.ts";
import { axisOf, type Operation } from "../program.ts";
import type { GradientRule } from "./rule.ts";

const axisOfNode = (node: Operation): number => axisOf(intOf(node, "axis", -1), node.inputs[0]!.shape.length);

export const softmax: GradientRule = {
  op: "Softmax",
  opset: [1, 24],
  backward: (node, [dy], g) => [
    () => {
      const y = node.outputs[0]!;
      const sum = g.reduceSum(g.mul(dy!, y), [axisOfNode(node)]);
      return g.mul(y, g.sub(dy!, sum));
    },
  ],
};

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
