/**
 * The vocabulary that rules, lowerings and the loss are written in: a function an operator, on values.
 *
 * Products of a matrix with a (possibly transposed) two-dimensional one become a Gemm on flattened rows:
 * it reads a weight transposed where it lies, where a Transpose node would copy it.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import type { Builder } from "./builder.ts";
import { type Attributes, int, ints } from "./graph.ts";
import { weightFrom } from "./numbers.ts";
import { permOf } from "./operators/layout.ts";
import { sameShape, type Value } from "./program.ts";
import { ELEMENT_NUMBERS, type ElementType } from "./weight.ts";

export interface Maths {
  readonly builder: Builder;
  op(op: string, inputs: readonly (Value | undefined)[], attributes?: Attributes, domain?: string): Value;
  add(a: Value, b: Value): Value;
  sub(a: Value, b: Value): Value;
  mul(a: Value, b: Value | number): Value;
  div(a: Value, b: Value): Value;
  neg(a: Value): Value;
  where(condition: Value, a: Value, b: Value): Value;
  /** A scalar of the type of `like`. */
  scalar(value: number, like: Value): Value;
  filled(value: number, shape: readonly number[], type?: ElementType): Value;
  cast(a: Value, type: ElementType): Value;
  matMul(a: Value, b: Value): Value;
  transpose(a: Value, perm: readonly number[]): Value;
  /** The last two axes changed. */
  transposeLast(a: Value): Value;
  reshape(a: Value, shape: readonly number[]): Value;
  /** All axes but the last in one. */
  rows(a: Value): Value;
  expand(a: Value, shape: readonly number[]): Value;
  /** Sums over the axes that broadcasting `like` to the shape of `a` made longer. */
  sumTo(a: Value, like: Pick<Value, "shape">): Value;
  reduceSum(a: Value, axes: readonly number[], keep?: boolean): Value;
  reduceMean(a: Value, axes: readonly number[]): Value;
  reduceMax(a: Value, axes: readonly number[]): Value;
  slice(a: Value, axis: number, from: number, to: number, step?: number): Value;
  concat(values: readonly Value[], axis: number): Value;
  gather(a: Value, indices: Value, axis: number): Value;
  /** Zeros of `shape` with `updates` added at `indices` [..., k] (ScatterND). */
  scatter(shape: readonly number[], indices: Value, updates: Value): Value;
}

export function maths(builder: Builder): Maths {
  const op: Maths["op"] = (name, inputs, attributes, domain) => builder.one(name, inputs, attributes, domain);
  const scalar: Maths["scalar"] = (value, like) => builder.scalar(value, like.type);
  const reshape: Maths["reshape"] = (a, shape) => op("Reshape", [a, builder.integers(shape)]);
  const transpose: Maths["transpose"] = (a, perm) => op("Transpose", [a], { perm: ints(perm) });
  const transposeLast: Maths["transposeLast"] = (a) => {
    const rank = a.shape.length;
    const perm = a.shape.map((_, i) => i);
    return transpose(a, [...perm.slice(0, rank - 2), rank - 1, rank - 2]);
  };
  const rows: Maths["rows"] = (a) => reshape(a, [sizeOf(a.shape.slice(0, -1)), a.shape.at(-1)!]);
  const reduce = (name: string, a: Value, axes: readonly number[], keep = true): Value =>
    op(name, [a, builder.integers(axes)], { keepdims: int(keep ? 1 : 0) });
  const filled: Maths["filled"] = (value, shape, type = "F32") =>
    op("Expand", [builder.scalar(value, type), builder.integers(shape)]);

  const toType: Maths["cast"] = (a, type) => op("Cast", [a], { to: int(ELEMENT_NUMBERS[type]) });

  return {
    builder,
    op,
    add: (a, b) => op("Add", [a, b]),
    sub: (a, b) => op("Sub", [a, b]),
    mul: (a, b) => op("Mul", [a, typeof b === "number" ? scalar(b, a) : b]),
    div: (a, b) => op("Div", [a, b]),
    neg: (a) => op("Neg", [a]),
    where: (condition, a, b) => op("Where", [condition, a, b]),
    scalar,
    filled,
    cast: toType,
    matMul(a, b) {
      if (b.shape.length !== 2 || a.shape.length < 2) return op("MatMul", [a, b]);
      const left = a.shape.length === 2 ? untransposed(a) : undefined;
      const right = untransposed(b);
      if (left === undefined && right === undefined) return op("MatMul", [a, b]);
      const flat = left ?? (a.shape.length === 2 ? a : rows(a));
      const product = op("Gemm", [flat, right ?? b], {
        ...(left && { transA: int(1) }),
        ...(right && { transB: int(1) }),
      });
      return reshape(product, [...a.shape.slice(0, -1), b.shape[1]!]);
    },
    transpose,
    transposeLast,
    reshape,
    rows,
    expand: (a, shape) => op("Expand", [a, builder.integers(shape)]),
    sumTo(a, like) {
      if (sameShape(a.shape, like.shape)) return a;
      const extra = a.shape.length - like.shape.length;
      const axes = a.shape.flatMap((dim, axis) =>
        axis < extra || (like.shape[axis - extra] === 1 && dim !== 1) ? [axis] : [],
      );
      return reshape(axes.length === 0 ? a : reduce("ReduceSum", a, axes), like.shape);
    },
    reduceSum: (a, axes, keep) => reduce("ReduceSum", a, axes, keep),
    reduceMean: (a, axes) => reduce("ReduceMean", a, axes),
    reduceMax: (a, axes) => reduce("ReduceMax", a, axes),
    slice: (a, axis, from, to, step = 1) =>
      op("Slice", [a, ...[from, to, axis, step].map((v) => builder.integers([v]))]),
    concat: (values, axis) => op("Concat", values, { axis: int(axis) }),
    gather: (a, indices, axis) => op("Gather", [a, indices], { axis: int(axis) }),
    scatter(shape, indices, updates) {
      // The runtime adds in float32 only.
      const sum = builder.one("ScatterND", [filled(0, shape), indices, toType(updates, "F32")], {
        reduction: { kind: "string", value: "add" },
      });
      return toType(sum, updates.type);
    },
  };
}

/** What a two-dimensional value is the transpose of. */
function untransposed(value: Value): Value | undefined {
  const from = value.from;
  return from?.op === "Transpose" && permOf(from)[0] === 1 ? from.inputs[0] : undefined;
}

/** The integers from 0 to count - 1. */
export function countTo(builder: Builder, count: number): Value {
  return builder.constant(
    weightFrom({ type: "I64", shape: [count], data: Float64Array.from({ length: count }, (_, i) => i) }),
  );
}
