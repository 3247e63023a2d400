/**
 * Reductions: dy is spread over the axes that were summed away, times the derivative of the reduction.
 *
 * Extremes that occur several times share the gradient evenly, as PyTorch's amax does. A length of 0 has slope 0.
 */
import { sizeOf } from "../../../adapters/tensor.ts";
import { int } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { reducedAxes } from "../operators/reductions.ts";
import type { Value } from "../program.ts";
import type { GradientRule } from "./rule.ts";

interface Spread {
  readonly x: Value;
  /** The result and its gradient, with the reduced axes kept at length 1. */
  readonly y: Value;
  readonly dy: Value;
  readonly axes: readonly number[];
  /** Elements that went into one of the result. */
  readonly count: number;
}

function rule(op: string, derivative: (spread: Spread, g: Maths) => Value): GradientRule {
  return {
    op,
    opset: [1, 24],
    backward: (node, [dy], g) => [
      () => {
        const x = node.inputs[0]!;
        const axes = reducedAxes(node);
        const kept = x.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
        const spread: Spread = {
          x,
          y: g.reshape(node.outputs[0]!, kept),
          dy: g.reshape(dy!, kept),
          axes,
          count: sizeOf(axes.map((axis) => x.shape[axis]!)),
        };
        return g.expand(derivative(spread, g), x.shape);
      },
      null,
    ],
  };
}

const extreme = ({ x, y, dy, axes }: Spread, g: Maths): Value => {
  const taken = g.cast(g.op("Equal", [x, y]), x.type);
  return g.div(g.mul(taken, dy), g.reduceSum(taken, axes));
};

/** Of each element the product of all others, with a zero among them too: there the rest's product, elsewhere 0. */
function productOfOthers({ x, dy, axes }: Spread, g: Maths): Value {
  const [zero, one] = [g.scalar(0, x), g.scalar(1, x)];
  const isZero = g.op("Equal", [x, zero]);
  const full = g.where(isZero, one, x);
  const product = g.op("ReduceProd", [full, g.builder.integers(axes)], { keepdims: int(1) });
  const zeros = g.reduceSum(g.cast(isZero, x.type), axes);
  const others = g.sub(zeros, g.cast(isZero, x.type));
  return g.mul(dy, g.where(g.op("Equal", [others, zero]), g.div(product, full), zero));
}

export const REDUCE: readonly GradientRule[] = [
  rule("ReduceSum", ({ dy }) => dy),
  rule("ReduceMean", ({ dy, count }, g) => g.mul(dy, 1 / count)),
  rule("ReduceMax", extreme),
  rule("ReduceMin", extreme),
  rule("ReduceProd", productOfOthers),
  rule("ReduceL1", ({ x, dy }, g) => g.mul(dy, g.op("Sign", [x]))),
  rule("ReduceL2", ({ x, y, dy }, g) => {
    const none = g.op("Equal", [y, g.scalar(0, y)]);
    return g.mul(x, g.where(none, y, g.div(dy, g.where(none, g.scalar(1, y), y))));
  }),
  rule("ReduceSumSquare", ({ x, dy }, g) => g.mul(x, g.mul(dy, 2))),
  rule("ReduceLogSum", ({ y, dy }, g) => g.div(dy, g.op("Exp", [y]))),
  rule("ReduceLogSumExp", ({ x, y, dy }, g) => g.mul(dy, g.op("Exp", [g.sub(x, y)]))),
];
