/** Operators whose result is made from shapes and bounds, or picks by value. */
import { sizeOf } from "../../../adapters/tensor.ts";
import { intOf } from "../graph.ts";
import { numbersOf } from "../numbers.ts";
import { axisOf, type Numbers } from "../program.ts";
import { elementType } from "../weight.ts";
import { integers } from "./known.ts";
import { need, type OperatorKind, oneLike, ValueNeeded } from "./operator.ts";

const shape: OperatorKind = {
  op: "Shape",
  infer: (call) => oneLike("I64", [shapeSlice(call).length]),
};

/** The dimensions that a Shape gives; the builder makes a constant of them. */
export function shapeSlice(call: Parameters<OperatorKind["infer"]>[0]): readonly number[] {
  const x = need(call, 0);
  const rank = x.shape.length;
  const from0 = (v: number) => Math.min(Math.max(v < 0 ? v + rank : v, 0), rank);
  return x.shape.slice(from0(intOf(call, "start", 0)), from0(intOf(call, "end", rank)));
}

const size: OperatorKind = { op: "Size", infer: () => oneLike("I64", []) };

const constantOfShape: OperatorKind = {
  op: "ConstantOfShape",
  infer: (call) => {
    const value = call.attributes.value;
    return oneLike(value?.kind === "tensor" ? value.value.type : "F32", integers(call, 0));
  },
  evaluate: (call) => {
    const { type, shape } = constantOfShape.infer(call)[0]!;
    const value = call.attributes.value;
    const fill = value?.kind === "tensor" ? (numbersOf(value.value)?.data[0] ?? 0) : 0;
    return [{ type, shape, data: new Float64Array(sizeOf(shape)).fill(fill) }];
  },
};

const range: OperatorKind = {
  op: "Range",
  infer: (call) => {
    const [start, limit, delta] = [integers(call, 0)[0]!, integers(call, 1)[0]!, integers(call, 2)[0]!];
    return oneLike(need(call, 0).type, [Math.max(0, Math.ceil((limit - start) / delta))]);
  },
  evaluate: (call, [start, , delta]) => {
    const { type, shape } = range.infer(call)[0]!;
    return [
      {
        type,
        shape,
        data: Float64Array.from({ length: shape[0]! }, (_, i) => start!.data[0]! + i * delta!.data[0]!),
      },
    ];
  },
};

/** The number of rows is the number of elements that are not zero: known only where the input is. */
const nonZero: OperatorKind = {
  op: "NonZero",
  infer: (call) => {
    const x = need(call, 0);
    const numbers = x.weight && numbersOf(x.weight);
    if (numbers === undefined) throw new ValueNeeded(x);
    return oneLike("I64", [x.shape.length, numbers.data.filter((v) => v !== 0).length]);
  },
  evaluate: (call, [x]) => {
    const { type, shape } = nonZero.infer(call)[0]!;
    const found = Array.from(x!.data.keys()).filter((at) => x!.data[at] !== 0);
    const rows = x!.shape.map((dim, axis) => {
      const step = sizeOf(x!.shape.slice(axis + 1));
      return found.map((at) => Math.floor(at / step) % dim);
    });
    return [{ type, shape, data: Float64Array.from(rows.flat()) }];
  },
};

const oneHot: OperatorKind = {
  op: "OneHot",
  infer: (call) => {
    const [indices, values] = [need(call, 0), need(call, 2)];
    const axis = axisOf(intOf(call, "axis", -1), indices.shape.length + 1);
    const shape = [...indices.shape];
    shape.splice(axis, 0, integers(call, 1)[0]!);
    return oneLike(values.type, shape);
  },
};

const eyeLike: OperatorKind = {
  op: "EyeLike",
  infer: (call) => {
    const type = elementType(intOf(call, "dtype", 0)) ?? need(call, 0).type;
    return oneLike(type, need(call, 0).shape);
  },
};

const argument = (op: string): OperatorKind => ({
  op,
  infer: (call) => {
    const x = need(call, 0);
    const axis = axisOf(intOf(call, "axis", 0), x.shape.length);
    const keep = intOf(call, "keepdims", 1) === 1;
    return oneLike(
      "I64",
      keep ? x.shape.map((dim, i) => (i === axis ? 1 : dim)) : x.shape.filter((_, i) => i !== axis),
    );
  },
  evaluate: (call, [x]) => {
    const axis = axisOf(intOf(call, "axis", 0), x!.shape.length);
    const { type, shape: target } = argument(op).infer(call)[0]!;
    const dim = x!.shape[axis]!;
    const inner = sizeOf(x!.shape.slice(axis + 1));
    const last = intOf(call, "select_last_index", 0) === 1;
    const better = (a: number, b: number) => (op === "ArgMax" ? a > b : a < b) || (last && a === b);
    const data = new Float64Array(sizeOf(target)).map((_, at) => {
      const base = Math.floor(at / inner) * inner * dim + (at % inner);
      let best = 0;
      for (let i = 1; i < dim; i++)
        if (better(x!.data[base + i * inner]!, x!.data[base + best * inner]!)) best = i;
      return best;
    });
    return [{ type, shape: target, data } satisfies Numbers];
  },
});

const topK: OperatorKind = {
  op: "TopK",
  infer: (call) => {
    const x = need(call, 0);
    const axis = axisOf(intOf(call, "axis", -1), x.shape.length);
    const shape = x.shape.map((dim, i) => (i === axis ? integers(call, 1)[0]! : dim));
    return [
      { type: x.type, shape },
      { type: "I64", shape },
    ];
  },
};

export const SOURCES: readonly OperatorKind[] = [
  shape,
  size,
  constantOfShape,
  range,
  nonZero,
  oneHot,
  eyeLike,
  argument("ArgMax"),
  argument("ArgMin"),
  topK,
];
