/**
 * Operators of one input whose derivative is one formula: dx = dy * f'(x), written with x or with y = f(x),
 * whichever is cheaper.
 *
 * Where f has a kink the derivative is the one PyTorch takes: Relu'(0) = 0, Abs'(0) = 0, and the slopes of
 * LeakyRelu, Elu, ... at 0 are those of the negative side.
 */
import { floatOf, stringOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Call, Value } from "../program.ts";
import type { GradientRule } from "./rule.ts";

type Derivative = (node: { x: Value; y: Value; dy: Value; call: Call }, g: Maths) => Value;

function rule(op: string, derivative: Derivative, domain = ""): GradientRule {
  return {
    op,
    domain,
    opset: [1, 24],
    backward: (node, [dy], g) => [
      () => derivative({ x: node.inputs[0]!, y: node.outputs[0]!, dy: dy!, call: node }, g),
    ],
  };
}

const square = (a: Value, g: Maths): Value => g.mul(a, a);
/** 1 - a² */
const oneMinusSquare = (a: Value, g: Maths): Value => g.sub(g.scalar(1, a), square(a, g));
const isAbove = (a: Value, bound: number, g: Maths): Value => g.op("Greater", [a, g.scalar(bound, a)]);
const sigmoid = (a: Value, g: Maths): Value => g.op("Sigmoid", [a]);
const zero = (a: Value, g: Maths): Value => g.scalar(0, a);

/** Gelu(x) = x Φ(x); its derivative is Φ(x) + x φ(x). */
export function geluSlope(x: Value, g: Maths): Value {
  const cdf = g.mul(g.add(g.op("Erf", [g.mul(x, Math.SQRT1_2)]), g.scalar(1, x)), 0.5);
  const density = g.mul(g.op("Exp", [g.mul(square(x, g), -0.5)]), 1 / Math.sqrt(2 * Math.PI));
  return g.add(cdf, g.mul(x, density));
}

/** 0.5 x (1 + tanh(u)), u = c (x + 0.044715 x³), c = sqrt(2/π) */
export function tanhGeluSlope(x: Value, g: Maths): Value {
  const c = Math.sqrt(2 / Math.PI);
  const x2 = square(x, g);
  const u = g.mul(x, g.add(g.mul(x2, 0.044715 * c), g.scalar(c, x)));
  const t = g.op("Tanh", [u]);
  const du = g.add(g.mul(x2, 3 * 0.044715 * c), g.scalar(c, x));
  const half = g.mul(g.add(t, g.scalar(1, x)), 0.5);
  return g.add(half, g.mul(g.mul(g.mul(x, 0.5), oneMinusSquare(t, g)), du));
}

export const UNARY: readonly GradientRule[] = [
  rule("Identity", ({ dy }) => dy),
  rule("Neg", ({ dy }, g) => g.neg(dy)),
  rule("Abs", ({ x, dy }, g) => g.mul(dy, g.op("Sign", [x]))),
  rule("Exp", ({ y, dy }, g) => g.mul(dy, y)),
  rule("Log", ({ x, dy }, g) => g.div(dy, x)),
  rule("Sqrt", ({ y, dy }, g) => g.div(g.mul(dy, 0.5), y)),
  rule("Reciprocal", ({ y, dy }, g) => g.neg(g.mul(dy, square(y, g)))),
  rule("Sin", ({ x, dy }, g) => g.mul(dy, g.op("Cos", [x]))),
  rule("Cos", ({ x, dy }, g) => g.neg(g.mul(dy, g.op("Sin", [x])))),
  rule("Tan", ({ y, dy }, g) => g.mul(dy, g.add(square(y, g), g.scalar(1, y)))),
  rule("Asin", ({ x, dy }, g) => g.div(dy, g.op("Sqrt", [oneMinusSquare(x, g)]))),
  rule("Acos", ({ x, dy }, g) => g.neg(g.div(dy, g.op("Sqrt", [oneMinusSquare(x, g)])))),
  rule("Atan", ({ x, dy }, g) => g.div(dy, g.add(square(x, g), g.scalar(1, x)))),
  rule("Sinh", ({ x, dy }, g) => g.mul(dy, g.op("Cosh", [x]))),
  rule("Cosh", ({ x, dy }, g) => g.mul(dy, g.op("Sinh", [x]))),
  rule("Asinh", ({ x, dy }, g) => g.div(dy, g.op("Sqrt", [g.add(square(x, g), g.scalar(1, x))]))),
  rule("Acosh", ({ x, dy }, g) => g.div(dy, g.op("Sqrt", [g.sub(square(x, g), g.scalar(1, x))]))),
  rule("Atanh", ({ x, dy }, g) => g.div(dy, oneMinusSquare(x, g))),
  rule("Tanh", ({ y, dy }, g) => g.mul(dy, oneMinusSquare(y, g))),
  rule("Sigmoid", ({ y, dy }, g) => g.mul(dy, g.mul(y, g.sub(g.scalar(1, y), y)))),
  rule("Erf", ({ x, dy }, g) => {
    const density = g.op("Exp", [g.neg(square(x, g))]);
    return g.mul(dy, g.mul(density, 2 / Math.sqrt(Math.PI)));
  }),
  rule("Relu", ({ x, dy }, g) => g.where(isAbove(x, 0, g), dy, zero(dy, g))),
  rule("LeakyRelu", ({ x, dy, call }, g) =>
    g.where(isAbove(x, 0, g), dy, g.mul(dy, floatOf(call, "alpha", 0.01))),
  ),
  rule("ThresholdedRelu", ({ x, dy, call }, g) =>
    g.where(isAbove(x, floatOf(call, "alpha", 1), g), dy, zero(dy, g)),
  ),
  // y = a (e^x - 1) below 0, so y' = y + a
  rule("Elu", ({ x, y, dy, call }, g) =>
    g.where(isAbove(x, 0, g), dy, g.mul(dy, g.add(y, g.scalar(floatOf(call, "alpha", 1), y)))),
  ),
  rule("Celu", ({ x, dy, call }, g) => {
    const slope = g.op("Exp", [g.mul(x, 1 / floatOf(call, "alpha", 1))]);
    return g.where(isAbove(x, 0, g), dy, g.mul(dy, slope));
  }),
  rule("Selu", ({ x, y, dy, call }, g) => {
    const alpha = floatOf(call, "alpha", 1.6732632423543772);
    const gamma = floatOf(call, "gamma", 1.0507009873554805);
    return g.where(isAbove(x, 0, g), g.mul(dy, gamma), g.mul(dy, g.add(y, g.scalar(alpha * gamma, y))));
  }),
  rule("Softplus", ({ x, dy }, g) => g.mul(dy, sigmoid(x, g))),
  rule("Softsign", ({ x, dy }, g) => g.div(dy, square(g.add(g.op("Abs", [x]), g.scalar(1, x)), g))),
  rule("HardSigmoid", ({ y, dy, call }, g) => {
    const inside = g.op("And", [isAbove(y, 0, g), g.op("Less", [y, g.scalar(1, y)])]);
    return g.where(inside, g.mul(dy, floatOf(call, "alpha", 0.2)), zero(dy, g));
  }),
  // x hardsigmoid(x) with slope 1/6: 0 below -3, 1 above 3, (2x + 3) / 6 between
  rule("HardSwish", ({ x, dy }, g) => {
    const between = g.mul(g.add(g.mul(x, 2), g.scalar(3, x)), 1 / 6);
    const slope = g.where(isAbove(x, 3, g), g.scalar(1, x), between);
    return g.mul(dy, g.where(isAbove(x, -3, g), slope, zero(x, g)));
  }),
  // x tanh(sp), sp = softplus(x): tanh(sp) + x (1 - tanh²(sp)) sigmoid(x)
  rule("Mish", ({ x, dy }, g) => {
    const t = g.op("Tanh", [g.op("Softplus", [x])]);
    return g.mul(dy, g.add(t, g.mul(g.mul(x, oneMinusSquare(t, g)), sigmoid(x, g))));
  }),
  rule("Gelu", ({ x, dy, call }, g) => {
    const tanh = stringOf(call, "approximate", "none") === "tanh";
    return g.mul(dy, tanh ? tanhGeluSlope(x, g) : geluSlope(x, g));
  }),
  rule("Gelu", ({ x, dy }, g) => g.mul(dy, geluSlope(x, g)), "com.microsoft"),
];
