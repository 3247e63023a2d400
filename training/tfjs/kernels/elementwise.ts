/** Operators that work element by element, with numpy's broadcasting, which tfjs has too. */
import { floatOf, intOf, stringOf } from "../../onnx/graph.ts";
import type { Operation } from "../../onnx/program.ts";
import { isFloat } from "../../onnx/weight.ts";
import { tfType } from "../types.ts";
import type { Kernel, Tf, TfTensor } from "./kernel.ts";

type Unary = (tf: Tf, x: TfTensor, call: Operation) => TfTensor;

const unary = (op: string, compute: Unary, domain = ""): Kernel => ({
  op,
  domain,
  run: (tf, [x], call) => compute(tf, x!, call),
});

/** WebAssembly negates integers as floats, which are exact to 2^24 only. */
const negated = (tf: Tf, x: TfTensor): TfTensor =>
  x.dtype === "int32" ? tf.sub(tf.scalar(0, "int32"), x) : tf.neg(x);

/** a(x) where x > 0, else b(x). */
const branches = (tf: Tf, x: TfTensor, above: TfTensor, below: TfTensor): TfTensor =>
  tf.where(tf.greater(x, 0), above, below);

const hardSigmoid = (tf: Tf, x: TfTensor, alpha: number, beta: number): TfTensor =>
  tf.clipByValue(tf.add(tf.mul(x, alpha), beta), 0, 1);

/** x Φ(x), or its approximation by a hyperbolic tangent where the node asks for it. */
function gelu(tf: Tf, x: TfTensor, tanh: boolean): TfTensor {
  const inner = tanh
    ? tf.tanh(tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.pow(x, 3)))))
    : tf.erf(tf.mul(x, Math.SQRT1_2));
  return tf.mul(tf.mul(x, 0.5), tf.add(inner, 1));
}

const UNARY: readonly Kernel[] = [
  unary("Identity", (_tf, x) => x),
  unary("Dropout", (_tf, x) => x),
  unary("Neg", negated),
  unary("Abs", (tf, x) => (x.dtype === "int32" ? tf.maximum(x, negated(tf, x)) : tf.abs(x))),
  unary("Exp", (tf, x) => tf.exp(x)),
  unary("Log", (tf, x) => tf.log(x)),
  unary("Sqrt", (tf, x) => tf.sqrt(x)),
  unary("Reciprocal", (tf, x) => tf.reciprocal(x)),
  unary("Sin", (tf, x) => tf.sin(x)),
  unary("Cos", (tf, x) => tf.cos(x)),
  unary("Tan", (tf, x) => tf.tan(x)),
  unary("Asin", (tf, x) => tf.asin(x)),
  unary("Acos", (tf, x) => tf.acos(x)),
  unary("Atan", (tf, x) => tf.atan(x)),
  unary("Sinh", (tf, x) => tf.sinh(x)),
  unary("Cosh", (tf, x) => tf.cosh(x)),
  unary("Asinh", (tf, x) => tf.asinh(x)),
  unary("Acosh", (tf, x) => tf.acosh(x)),
  unary("Atanh", (tf, x) => tf.atanh(x)),
  unary("Tanh", (tf, x) => tf.tanh(x)),
  unary("Sigmoid", (tf, x) => tf.sigmoid(x)),
  unary("Relu", (tf, x) => tf.relu(x)),
  unary("Erf", (tf, x) => tf.erf(x)),
  unary("Floor", (tf, x) => tf.floor(x)),
  unary("Ceil", (tf, x) => tf.ceil(x)),
  unary("Round", (tf, x) => tf.round(x)),
  unary("Sign", (tf, x) => tf.sign(x)),
  unary("Not", (tf, x) => tf.logicalNot(x)),
  unary("IsNaN", (tf, x) => tf.isNaN(x)),
  unary("Softplus", (tf, x) => tf.softplus(x)),
  unary("Softsign", (tf, x) => tf.div(x, tf.add(tf.abs(x), 1))),
  unary("Mish", (tf, x) => tf.mul(x, tf.tanh(tf.softplus(x)))),
  unary("LeakyRelu", (tf, x, call) => branches(tf, x, x, tf.mul(x, floatOf(call, "alpha", 0.01)))),
  unary("ThresholdedRelu", (tf, x, call) =>
    tf.where(tf.greater(x, floatOf(call, "alpha", 1)), x, tf.zerosLike(x)),
  ),
  unary("Elu", (tf, x, call) => branches(tf, x, x, tf.mul(tf.expm1(x), floatOf(call, "alpha", 1)))),
  unary("Celu", (tf, x, call) => {
    const alpha = floatOf(call, "alpha", 1);
    return branches(tf, x, x, tf.mul(tf.expm1(tf.div(x, alpha)), alpha));
  }),
  unary("Selu", (tf, x, call) => {
    const alpha = floatOf(call, "alpha", 1.6732631921768188);
    const gamma = floatOf(call, "gamma", 1.0507010221481323);
    return tf.mul(branches(tf, x, x, tf.mul(tf.expm1(x), alpha)), gamma);
  }),
  unary("HardSigmoid", (tf, x, call) =>
    hardSigmoid(tf, x, floatOf(call, "alpha", 0.2), floatOf(call, "beta", 0.5)),
  ),
  unary("HardSwish", (tf, x) => tf.mul(x, hardSigmoid(tf, x, 1 / 6, 0.5))),
  unary("Gelu", (tf, x, call) => gelu(tf, x, stringOf(call, "approximate", "none") === "tanh")),
  unary("Gelu", (tf, x) => gelu(tf, x, false), "com.microsoft"),
  unary(
    "QuickGelu",
    (tf, x, call) => tf.mul(x, tf.sigmoid(tf.mul(x, floatOf(call, "alpha", 1.702)))),
    "com.microsoft",
  ),
  {
    ...unary("IsInf", (tf, x) => tf.isInf(x)),
    refuses: (call) =>
      intOf(call, "detect_negative", 1) === 1 && intOf(call, "detect_positive", 1) === 1
        ? undefined
        : "both infinities must be detected",
  },
];

type Binary = (tf: Tf, a: TfTensor, b: TfTensor, call: Operation) => TfTensor;

/** Any number of operands, folded from the left. */
const folded = (op: string, compute: Binary): Kernel => ({
  op,
  run: (tf, inputs, call) => inputs.map((x) => x!).reduce((a, b) => compute(tf, a, b, call)),
});

/** Towards zero; tfjs rounds down. */
function truncatedQuotient(tf: Tf, a: TfTensor, b: TfTensor): TfTensor {
  const [up, low] = [tf.maximum(a, negated(tf, a)), tf.maximum(b, negated(tf, b))];
  // WebAssembly divides as floats; what is missing then is small enough to be exact.
  const near = tf.floorDiv(up, low);
  const size = tf.add(near, tf.floorDiv(tf.sub(up, tf.mul(near, low)), low));
  return tf.where(tf.equal(tf.less(a, 0), tf.less(b, 0)), size, negated(tf, size));
}

const integral = (call: Operation): boolean => !isFloat(call.inputs[0]!.type);

const BINARY: readonly Kernel[] = [
  folded("Add", (tf, a, b) => tf.add(a, b)),
  folded("Sub", (tf, a, b) => tf.sub(a, b)),
  folded("Mul", (tf, a, b) => tf.mul(a, b)),
  folded("Div", (tf, a, b, call) => (integral(call) ? truncatedQuotient(tf, a, b) : tf.div(a, b))),
  // The exponent may have another type than the base, whose type the result has.
  folded("Pow", (tf, a, b) => tf.cast(tf.pow(tf.cast(a, "float32"), tf.cast(b, "float32")), a.dtype)),
  folded("Mod", (tf, a, b, call) =>
    intOf(call, "fmod", 0) === 0 ? tf.mod(a, b) : tf.mul(tf.sign(a), tf.mod(tf.abs(a), tf.abs(b))),
  ),
  folded("Min", (tf, a, b) => tf.minimum(a, b)),
  folded("Max", (tf, a, b) => tf.maximum(a, b)),
  folded("Sum", (tf, a, b) => tf.add(a, b)),
  {
    op: "Mean",
    run: (tf, inputs) =>
      tf.div(
        inputs.map((x) => x!).reduce((a, b) => tf.add(a, b)),
        inputs.length,
      ),
  },
  folded("PRelu", (tf, x, slope) => branches(tf, x, x, tf.mul(x, slope))),
  folded("And", (tf, a, b) => tf.logicalAnd(a, b)),
  folded("Or", (tf, a, b) => tf.logicalOr(a, b)),
  folded("Xor", (tf, a, b) => tf.logicalXor(a, b)),
  folded("Equal", (tf, a, b) => tf.equal(a, b)),
  folded("Less", (tf, a, b) => tf.less(a, b)),
  folded("LessOrEqual", (tf, a, b) => tf.lessEqual(a, b)),
  folded("Greater", (tf, a, b) => tf.greater(a, b)),
  folded("GreaterOrEqual", (tf, a, b) => tf.greaterEqual(a, b)),
];

/** Through a comparison to bool: a conversion would cut 0.5 to 0 first. */
function converted(tf: Tf, x: TfTensor, call: Operation): TfTensor {
  const dtype = tfType(call.outputs[0]!.type)!; // session.ts refused types without one
  return dtype === "bool" && x.dtype !== "bool" ? tf.notEqual(x, 0) : tf.cast(x, dtype);
}

export const ELEMENTWISE: readonly Kernel[] = [
  ...UNARY,
  ...BINARY,
  { op: "Where", run: (tf, [condition, a, b]) => tf.where(condition!, a!, b!) },
  {
    op: "Clip",
    run(tf, [x, low, high]) {
      const above = low === undefined ? x! : tf.maximum(x!, low);
      return high === undefined ? above : tf.minimum(above, high);
    },
  },
  { op: "Cast", run: (tf, [x], call) => converted(tf, x!, call) },
  { op: "CastLike", stated: [1], run: (tf, [x], call) => converted(tf, x!, call) },
];
