/** Operations that change nothing, and pairs that undo each other. */
import { sizeOf } from "../../adapters/tensor.ts";
import { ints } from "./graph.ts";
import { numbersOf } from "./numbers.ts";
import { padsOf, permOf, sliceOf } from "./operators/layout.ts";
import { reducedAxes } from "./operators/reductions.ts";
import { type Call, type Emitter, type Operation, sameShape, type Typed, type Value } from "./program.ts";
import type { Weight } from "./weight.ts";

type Simplifier = (call: Call, result: Typed, builder: Emitter) => Value | undefined;

/** What was found of a constant: a norm's scale is asked for by every form that it might be part of. */
const UNIFORM = new WeakMap<Weight, { readonly value: number | undefined }>();

/** The one value that all elements of a constant have, or undefined. */
export function uniformValue(value: Value | undefined): number | undefined {
  const weight = value?.weight;
  if (weight === undefined || sizeOf(value!.shape) > 4096) return undefined;
  const known = UNIFORM.get(weight);
  if (known !== undefined) return known.value;
  const numbers = numbersOf(weight)?.data;
  const [first] = numbers ?? [];
  const uniform = first !== undefined && numbers!.every((v) => v === first) ? first : undefined;
  UNIFORM.set(weight, { value: uniform });
  return uniform;
}

export interface Multiple {
  readonly x: Value;
  readonly factor: number;
}

/** The two sides of a product of which one is a number. */
export function timesNumber(a: Value, b: Value): Multiple | undefined {
  const [x, factor] = uniformValue(a) === undefined ? [a, uniformValue(b)] : [b, uniformValue(a)];
  return factor === undefined ? undefined : { x, factor };
}

/** A computed value of the product's shape and the number that it is multiplied by. */
export function multipleOf({ op, domain, inputs, outputs }: Operation): Multiple | undefined {
  if (op !== "Mul" || domain !== "") return undefined;
  const [a, b] = inputs as [Value, Value];
  const multiple = timesNumber(a, b);
  return multiple && !multiple.x.weight && sameShape(multiple.x.shape, outputs[0]!.shape)
    ? multiple
    : undefined;
}

const first = (call: Call): Value => call.inputs[0]!;

const ifSameShape: Simplifier = (call, result) =>
  sameShape(first(call).shape, result.shape) ? first(call) : undefined;

/** a + 0 and a * 1, on either side; the shape must not grow. */
const neutral =
  (constant: number, sides: readonly number[]): Simplifier =>
  (call, result) => {
    for (const side of sides) {
      const other = call.inputs[1 - side];
      if (call.inputs.length === 2 && other && sameShape(other.shape, result.shape))
        if (uniformValue(call.inputs[side]) === constant) return other;
    }
    return undefined;
  };

/** Squeeze, Unsqueeze, Flatten and Reshape are all the same to the elements. */
const asReshape: Simplifier = (call, result, builder) => {
  if (sameShape(first(call).shape, result.shape)) return first(call);
  let source = first(call);
  while (source.from?.op === "Reshape") source = source.from.inputs[0]!;
  if (sameShape(source.shape, result.shape)) return source;
  if (call.op === "Reshape" && source === first(call) && isPlain(call, result)) return undefined;
  return builder.one("Reshape", [source, builder.integers(result.shape)]);
};

/** Whether a Reshape states its result in full already. */
function isPlain(call: Call, result: Typed): boolean {
  const wanted = call.inputs[1]?.weight && numbersOf(call.inputs[1].weight)?.data;
  return wanted?.every((dim, i) => dim === result.shape[i] && dim !== 0) ?? false;
}

const transpose: Simplifier = (call, result, builder) => {
  const perm = permOf(call);
  if (perm.every((axis, i) => axis === i)) return first(call);
  const inner = first(call).from;
  if (inner?.op === "Transpose") {
    const before = permOf(inner);
    return builder.one("Transpose", [inner.inputs[0]], { perm: ints(perm.map((axis) => before[axis]!)) });
  }
  // Only axes of length 1 change places: nothing moves.
  const long = perm.filter((axis) => first(call).shape[axis] !== 1);
  if (long.every((axis, i) => i === 0 || axis > long[i - 1]!))
    return builder.one("Reshape", [first(call), builder.integers(result.shape)]);
  return undefined;
};

const SIMPLIFIERS: Readonly<Record<string, Simplifier>> = {
  Identity: first,
  Dropout: first,
  Cast: (call, result) => (first(call).type === result.type ? first(call) : undefined),
  CastLike: (call, result) => (first(call).type === result.type ? first(call) : undefined),
  Expand: ifSameShape,
  Tile: ifSameShape,
  Add: neutral(0, [0, 1]),
  Sub: neutral(0, [1]),
  Mul: neutral(1, [0, 1]),
  Div: neutral(1, [1]),
  Pow: neutral(1, [1]),
  Reshape: asReshape,
  Squeeze: asReshape,
  Unsqueeze: asReshape,
  Flatten: asReshape,
  Transpose: transpose,
  // Caches of length 0 add nothing.
  Concat: (call, _result, builder) => {
    const full = call.inputs.filter((input) => sizeOf(input!.shape) > 0);
    if (full.length === 1) return full[0];
    return full.length > 0 && full.length < call.inputs.length
      ? builder.one("Concat", full, call.attributes)
      : undefined;
  },
  Slice: (call) =>
    sliceOf(call).every(({ start, step, length }, axis) => {
      return start === 0 && step === 1 && length === first(call).shape[axis];
    })
      ? first(call)
      : undefined,
  Pad: (call, _result, builder) => {
    const pads = padsOf(call);
    if (pads.every(({ before, after }) => before === 0 && after === 0)) return first(call);
    if (call.inputs[3] === undefined) return undefined;
    // The runtime's transpose optimizer reads pads as if they were for all axes, whatever `axes` says.
    const whole = builder.integers([...pads.map((p) => p.before), ...pads.map((p) => p.after)]);
    return builder.one("Pad", [first(call), whole, call.inputs[2]], call.attributes);
  },
  ReduceSum: (call, result, builder) =>
    reducedAxes(call).every((axis) => first(call).shape[axis] === 1)
      ? builder.one("Reshape", [first(call), builder.integers(result.shape)])
      : undefined,
  Neg: (call) => (first(call).from?.op === "Neg" ? first(call).from!.inputs[0] : undefined),
  Where: (call, result) => {
    const chosen = uniformValue(call.inputs[0]);
    const value = chosen === undefined ? undefined : call.inputs[chosen === 0 ? 2 : 1];
    return value && sameShape(value.shape, result.shape) ? value : undefined;
  },
};

/** The value that a call comes to without an operation of its own, or undefined. */
export function simplify(call: Call, result: Typed, builder: Emitter): Value | undefined {
  if (call.domain !== "") return undefined;
  if (call.op === "Dropout" && call.outputCount > 1) return undefined;
  return Object.hasOwn(SIMPLIFIERS, call.op) ? SIMPLIFIERS[call.op]!(call, result, builder) : undefined;
}
