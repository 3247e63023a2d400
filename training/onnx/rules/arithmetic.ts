/** Sums, products and quotients of two broadcast operands; `sumTo` undoes the broadcasting. */
import type { Maths } from "../maths.ts";
import type { Value } from "../program.ts";
import type { GradientRule, Thunk } from "./rule.ts";
import { timesAgain } from "./swish.ts";

type Sides = (operands: { a: Value; b: Value; y: Value; dy: Value }, g: Maths) => readonly [Thunk, Thunk];

function rule(op: string, sides: Sides): GradientRule {
  return {
    op,
    opset: [7, 24],
    backward: (node, [dy], g) => {
      const [a, b] = [node.inputs[0]!, node.inputs[1]!];
      const [da, db] = sides({ a, b, y: node.outputs[0]!, dy: dy! }, g);
      return [() => g.sumTo(da(), a), () => g.sumTo(db(), b)];
    },
  };
}

/** Any number of operands that share one gradient, scaled. */
function shared(op: string, scale: (count: number) => number): GradientRule {
  return {
    op,
    opset: [8, 24],
    backward: (node, [dy], g) =>
      node.inputs.map((input) => () => g.sumTo(g.mul(dy!, scale(node.inputs.length)), input!)),
  };
}

/** The gradient goes to the operand that is taken; where both are equal, half to each, as PyTorch does. */
function extreme(op: string, wins: "Greater" | "Less"): GradientRule {
  return {
    op,
    opset: [8, 24],
    backward: (node, [dy], g) => {
      const y = node.outputs[0]!;
      const taken = node.inputs.map((input) => g.cast(g.op("Equal", [input!, y]), dy!.type));
      const count = () => taken.reduce((sum, each) => g.add(sum, each));
      return node.inputs.map((input, i) => () => {
        if (node.inputs.length !== 2) return g.sumTo(g.div(g.mul(dy!, taken[i]!), count()), input!);
        const other = node.inputs[1 - i]!;
        const alone = g.op(wins, [input!, other]);
        const tie = g.mul(g.mul(dy!, 0.5), taken[i]!);
        return g.sumTo(g.where(alone, dy!, tie), input!);
      });
    },
  };
}

export const ARITHMETIC: readonly GradientRule[] = [
  rule("Add", ({ dy }) => [() => dy, () => dy]),
  rule("Sub", ({ dy }, g) => [() => dy, () => g.neg(dy)]),
  rule("Mul", ({ a, b, dy }, g) => [() => timesAgain(dy, b, g), () => timesAgain(dy, a, g)]),
  rule("Div", ({ b, y, dy }, g) => [() => g.div(dy, b), () => g.neg(g.div(g.mul(dy, y), b))]),
  shared("Sum", () => 1),
  shared("Mean", (count) => 1 / count),
  extreme("Max", "Greater"),
  extreme("Min", "Less"),
];
