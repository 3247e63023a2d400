/** Operators that choose or bound elements, and casts between floating types. */

import { int, intOf } from "../graph.ts";
import { axisOf } from "../program.ts";
import { isFloat } from "../weight.ts";
import type { GradientRule } from "./rule.ts";

const where: GradientRule = {
  op: "Where",
  opset: [9, 24],
  backward(node, [dy], g) {
    const [condition, a, b] = [node.inputs[0]!, node.inputs[1]!, node.inputs[2]!];
    const zero = g.scalar(0, dy!);
    return [
      null,
      () => g.sumTo(g.where(condition, dy!, zero), a),
      () => g.sumTo(g.where(condition, zero, dy!), b),
    ];
  },
};

/** Inside the bounds and on them the gradient passes, as PyTorch has it; beyond one it is the bound's. */
const clip: GradientRule = {
  op: "Clip",
  opset: [1, 24],
  backward(node, [dy], g) {
    const [x, low, high] = node.inputs;
    const zero = g.scalar(0, dy!);
    return [
      () => {
        const above = low ? g.where(g.op("GreaterOrEqual", [x, low]), dy!, zero) : dy!;
        return high ? g.where(g.op("LessOrEqual", [x, high]), above, zero) : above;
      },
      () => {
        // Where the bounds cross, the upper one is what comes out.
        const below = g.where(g.op("Less", [x, low]), dy!, zero);
        return g.sumTo(high ? g.where(g.op("LessOrEqual", [low, high]), below, zero) : below, low!);
      },
      () => {
        const bounded = low ? g.op("Max", [x, low]) : x;
        return g.sumTo(g.where(g.op("Greater", [bounded, high]), dy!, zero), high!);
      },
    ];
  },
};

const cast = (op: string): GradientRule => ({
  op,
  opset: [1, 24],
  backward: (node, [dy], g) => {
    const x = node.inputs[0]!;
    return isFloat(x.type) && isFloat(node.outputs[0]!.type)
      ? [() => g.cast(dy!, x.type), null]
      : [null, null];
  },
});

/** Y = X where X > 0, else slope X. */
const pRelu: GradientRule = {
  op: "PRelu",
  opset: [7, 24],
  backward(node, [dy], g) {
    const [x, slope] = [node.inputs[0]!, node.inputs[1]!];
    const positive = g.op("Greater", [x, g.scalar(0, x)]);
    return [
      () => g.where(positive, dy!, g.mul(dy!, slope)),
      () => g.sumTo(g.where(positive, g.scalar(0, x), g.mul(dy!, x)), slope),
    ];
  },
};

/** Outside training it passes its input on. */
const dropout: GradientRule = {
  op: "Dropout",
  opset: [7, 24],
  backward: (_node, [dy]) => [() => dy!, null, null],
};

/** The chosen elements put back at their places. */
const topK: GradientRule = {
  op: "TopK",
  opset: [10, 24],
  backward: (node, [dy], g) => [
    () => {
      const x = node.inputs[0]!;
      const axis = int(axisOf(intOf(node, "axis", -1), x.shape.length));
      return g.op("ScatterElements", [g.filled(0, x.shape, x.type), node.outputs[1], dy!], { axis });
    },
    null,
  ],
};

export const SELECT: readonly GradientRule[] = [
  where,
  clip,
  cast("Cast"),
  cast("CastLike"),
  dropout,
  pRelu,
  topK,
];
