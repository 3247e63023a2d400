/** Operators that work element by element, with numpy's broadcasting. */
import { sizeOf } from "../../../adapters/tensor.ts";
import { intOf } from "../graph.ts";
import { eachBroadcast } from "../numbers.ts";
import { broadcastShape, type Call, type Numbers } from "../program.ts";
import { type ElementType, elementType, isFloat } from "../weight.ts";
import { need, type OperatorKind, oneLike } from "./operator.ts";

type Unary = (x: number, call: Call) => number;

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

function unary(op: string, compute?: Unary, result?: ElementType, domain = ""): OperatorKind {
  return {
    op,
    domain,
    infer: (call) => oneLike(result ?? need(call, 0).type, need(call, 0).shape),
    ...(compute && {
      evaluate: (call, [x]) => [
        { type: result ?? x!.type, shape: x!.shape, data: x!.data.map((v) => compute(v, call)) },
      ],
    }),
  };
}

/** Half to even, as the standard says of Round. */
function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

const UNARY: readonly OperatorKind[] = [
  unary("Neg", (x) => -x),
  unary("Abs", Math.abs),
  unary("Exp", Math.exp),
  unary("Log", Math.log),
  unary("Sqrt", Math.sqrt),
  unary("Reciprocal", (x) => 1 / x),
  unary("Sin", Math.sin),
  unary("Cos", Math.cos),
  unary("Tan", Math.tan),
  unary("Tanh", Math.tanh),
  unary("Sigmoid", sigmoid),
  unary("Relu", (x) => Math.max(x, 0)),
  unary("Floor", Math.floor),
  unary("Ceil", Math.ceil),
  unary("Round", roundEven),
  unary("Sign", Math.sign),
  unary("Identity", (x) => x),
  unary("Not", (x) => (x === 0 ? 1 : 0), "BOOL"),
  unary("IsNaN", (x) => (Number.isNaN(x) ? 1 : 0), "BOOL"),
  unary("IsInf", undefined, "BOOL"),
  unary("BitwiseNot"),
  ...["Erf", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"].map((op) => unary(op)),
  ...["Softplus", "Softsign", "HardSigmoid", "HardSwish", "Elu", "Selu", "Celu"].map((op) => unary(op)),
  ...["LeakyRelu", "ThresholdedRelu", "Mish", "Gelu"].map((op) => unary(op)),
  ...["Gelu", "FastGelu", "QuickGelu", "BiasGelu", "RotaryEmbedding"].map((op) =>
    unary(op, undefined, undefined, "com.microsoft"),
  ),
];

type Binary = (a: number, b: number, integer: boolean) => number;

/** Any number of operands, folded from the left. */
function broadcast(op: string, compute?: Binary, result?: ElementType): OperatorKind {
  return {
    op,
    infer: (call) => {
      const inputs = call.inputs.map((_, i) => need(call, i));
      if (inputs.some((input) => input.type !== inputs[0]!.type))
        throw new TypeError(`operands must have one type, got ${inputs.map((i) => i.type).join(" and ")}`);
      return oneLike(result ?? inputs[0]!.type, broadcastShape(...inputs.map((input) => input.shape)));
    },
    ...(compute && {
      evaluate: (_call, inputs) => [
        inputs
          .map((x) => x!)
          .reduce((a, b) => {
            const integer = !isFloat(a.type);
            return combine([a, b], result ?? a.type, (at) =>
              compute(a.data[at[0]!]!, b.data[at[1]!]!, integer),
            );
          }),
      ],
    }),
  };
}

function combine(
  inputs: readonly Numbers[],
  type: ElementType,
  compute: (at: readonly number[]) => number,
): Numbers {
  const shapes = inputs.map((input) => input.shape);
  const shape = broadcastShape(...shapes);
  const data = new Float64Array(sizeOf(shape));
  eachBroadcast(shapes, (target, at) => {
    data[target] = compute(at);
  });
  return { type, shape, data };
}

const flag = (holds: boolean): number => (holds ? 1 : 0);

const BROADCAST: readonly OperatorKind[] = [
  broadcast("Add", (a, b) => a + b),
  broadcast("Sub", (a, b) => a - b),
  broadcast("Mul", (a, b) => a * b),
  broadcast("Div", (a, b, integer) => (integer ? Math.trunc(a / b) : a / b)),
  {
    // The exponent may have another type than the base, whose type the result has.
    ...broadcast("Pow"),
    infer: (call) => oneLike(need(call, 0).type, broadcastShape(need(call, 0).shape, need(call, 1).shape)),
    evaluate: (_call, [a, b]) => [combine([a!, b!], a!.type, (at) => a!.data[at[0]!]! ** b!.data[at[1]!]!)],
  },
  {
    ...broadcast("Mod"),
    evaluate: (call, [a, b]) => {
      const fmod = intOf(call, "fmod", 0) === 1;
      return [
        combine([a!, b!], a!.type, (at) => {
          const [x, y] = [a!.data[at[0]!]!, b!.data[at[1]!]!];
          return fmod ? x % y : x - y * Math.floor(x / y);
        }),
      ];
    },
  },
  broadcast("Min", (a, b) => Math.min(a, b)),
  broadcast("Max", (a, b) => Math.max(a, b)),
  broadcast("Sum", (a, b) => a + b),
  broadcast("Mean"),
  broadcast("PRelu"),
  broadcast("And", (a, b) => flag(a !== 0 && b !== 0), "BOOL"),
  broadcast("Or", (a, b) => flag(a !== 0 || b !== 0), "BOOL"),
  broadcast("Xor", (a, b) => flag((a !== 0) !== (b !== 0)), "BOOL"),
  broadcast("Equal", (a, b) => flag(a === b), "BOOL"),
  broadcast("Less", (a, b) => flag(a < b), "BOOL"),
  broadcast("LessOrEqual", (a, b) => flag(a <= b), "BOOL"),
  broadcast("Greater", (a, b) => flag(a > b), "BOOL"),
  broadcast("GreaterOrEqual", (a, b) => flag(a >= b), "BOOL"),
  broadcast("BitShift"),
  broadcast("BitwiseAnd"),
  broadcast("BitwiseOr"),
];

const where: OperatorKind = {
  op: "Where",
  infer: (call) => {
    const [condition, a, b] = [need(call, 0), need(call, 1), need(call, 2)];
    return oneLike(a.type, broadcastShape(condition.shape, a.shape, b.shape));
  },
  evaluate: (_call, [condition, a, b]) => [
    combine([condition!, a!, b!], a!.type, (at) =>
      condition!.data[at[0]!] !== 0 ? a!.data[at[1]!]! : b!.data[at[2]!]!,
    ),
  ],
};

const clip: OperatorKind = {
  op: "Clip",
  infer: (call) => oneLike(need(call, 0).type, need(call, 0).shape),
  evaluate: (_call, [x, low, high]) => [
    {
      ...x!,
      data: x!.data.map((v) =>
        Math.min(
          Math.max(v, low?.data[0] ?? Number.NEGATIVE_INFINITY),
          high?.data[0] ?? Number.POSITIVE_INFINITY,
        ),
      ),
    },
  ],
};

const cast: OperatorKind = {
  op: "Cast",
  infer: (call) => {
    const type = elementType(intOf(call, "to", 0));
    if (type === undefined) throw new TypeError(`Cast to element type ${intOf(call, "to", 0)} is not known`);
    return oneLike(type, need(call, 0).shape);
  },
  evaluate: (call, [x]) => {
    const type = elementType(intOf(call, "to", 0))!;
    const convert = type === "BOOL" ? (v: number) => flag(v !== 0) : isFloat(type) ? Number : Math.trunc;
    return [{ type, shape: x!.shape, data: x!.data.map((v) => convert(v)) }];
  },
};

const castLike: OperatorKind = {
  op: "CastLike",
  infer: (call) => oneLike(need(call, 1).type, need(call, 0).shape),
};

/** Outside training a Dropout passes its input on; the mask, where asked for, is all true. */
const dropout: OperatorKind = {
  op: "Dropout",
  infer: (call) => {
    const x = need(call, 0);
    return [x, { type: "BOOL" as const, shape: x.shape }].slice(0, call.outputCount);
  },
};

export const ELEMENTWISE: readonly OperatorKind[] = [
  ...UNARY,
  ...BROADCAST,
  where,
  clip,
  cast,
  castLike,
  dropout,
];
