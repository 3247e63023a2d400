/**
 * Operators that pick elements by index, and those that put them back: the gradient of a pick is a sum into
 * the places picked from (an index that comes twice adds up), that of a put is a pick.
 *
 * Indices are integers and have no gradient.
 */
import { sizeOf } from "../../../adapters/tensor.ts";
import { int, intOf, string, stringOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { weightFrom } from "../numbers.ts";
import { axisOf, stridesOf, type Value } from "../program.ts";
import { type GradientRule, refuse } from "./rule.ts";

/** The runtime's ScatterND with reduction takes no negative indices. @param dims of the axes that the last axis counts in */
function nonNegative(indices: Value, dims: readonly number[], g: Maths): Value {
  const negative = g.op("Less", [indices, g.scalar(0, indices)]);
  return g.where(negative, g.add(indices, g.builder.integers(dims)), indices);
}

const gather: GradientRule = {
  op: "Gather",
  opset: [1, 24],
  backward: (node, [dy], g) => [
    () => {
      const [x, indices] = [node.inputs[0]!, node.inputs[1]!];
      const axis = axisOf(intOf(node, "axis", 0), x.shape.length);
      const count = sizeOf(indices.shape);
      const inner = x.shape.slice(axis + 1);
      const outer = x.shape.slice(0, axis);
      // [outer, picked, inner] -> [picked, outer, inner]: whole slices are added.
      const flat = g.reshape(dy!, [sizeOf(outer), count, sizeOf(inner)]);
      const moved = g.transpose(flat, [1, 0, 2]);
      const places = g.reshape(nonNegative(g.cast(indices, "I64"), [x.shape[axis]!], g), [count, 1]);
      const sum = g.scatter([x.shape[axis]!, sizeOf(outer), sizeOf(inner)], places, moved);
      return g.reshape(g.transpose(sum, [1, 0, 2]), x.shape);
    },
    null,
  ],
};

const gatherNd: GradientRule = {
  op: "GatherND",
  opset: [11, 24],
  backward: (node, [dy], g) => [
    () => {
      const [x, indices] = [node.inputs[0]!, node.inputs[1]!];
      const batch = intOf(node, "batch_dims", 0);
      const dims = x.shape.slice(batch, batch + indices.shape.at(-1)!);
      const inner = nonNegative(g.cast(indices, "I64"), dims, g);
      const places = batch === 0 ? inner : g.concat([batchIndices(indices.shape, batch, g), inner], -1);
      return g.scatter(x.shape, places, dy!);
    },
    null,
  ],
};

/** For indices [b..., ..., k] what the batch's own axes have to be picked at, [b..., ..., batch]. */
function batchIndices(shape: readonly number[], batch: number, g: Maths): Value {
  const outer = shape.slice(0, -1);
  const strides = stridesOf(outer);
  const data = Float64Array.from({ length: sizeOf(outer) * batch }, (_, at) => {
    const [place, axis] = [Math.floor(at / batch), at % batch];
    return Math.floor(place / strides[axis]!) % outer[axis]!;
  });
  return g.builder.constant(weightFrom({ type: "I64", shape: [...outer, batch], data }));
}

const gatherElements: GradientRule = {
  op: "GatherElements",
  opset: [11, 24],
  backward: (node, [dy], g) => [
    () => {
      const [x, indices] = [node.inputs[0]!, node.inputs[1]!];
      const axis = intOf(node, "axis", 0);
      return g.op("ScatterElements", [g.filled(0, x.shape, x.type), indices, dy!], {
        axis: int(axis),
        reduction: string("add"),
      });
    },
    null,
  ],
};

function reductionOf(node: Parameters<GradientRule["backward"]>[0]): string {
  const reduction = stringOf(node, "reduction", "none");
  if (reduction !== "none" && reduction !== "add")
    refuse(node, `reduction must be "none" or "add", got "${reduction}"`);
  return reduction;
}

/** Without reduction the places written to lose their old value; indices must not repeat then. */
const scatterNd: GradientRule = {
  op: "ScatterND",
  opset: [11, 24],
  backward(node, [dy], g) {
    const [, indices, updates] = node.inputs;
    const replaces = reductionOf(node) === "none";
    return [
      () => (replaces ? g.op("ScatterND", [dy!, indices, g.filled(0, updates!.shape, dy!.type)]) : dy!),
      null,
      () => g.op("GatherND", [dy!, indices]),
    ];
  },
};

const scatterElements: GradientRule = {
  op: "ScatterElements",
  opset: [11, 24],
  backward(node, [dy], g) {
    const [, indices, updates] = node.inputs;
    const axis = int(intOf(node, "axis", 0));
    const replaces = reductionOf(node) === "none";
    return [
      () =>
        replaces
          ? g.op("ScatterElements", [dy!, indices, g.filled(0, updates!.shape, dy!.type)], { axis })
          : dy!,
      null,
      () => g.op("GatherElements", [dy!, indices], { axis }),
    ];
  },
};

/** Each element counts in all later sums: the gradient is a running sum from the other end. */
const cumSum: GradientRule = {
  op: "CumSum",
  opset: [11, 24],
  backward: (node, [dy], g) => [
    () =>
      g.op("CumSum", [dy!, node.inputs[1]], {
        exclusive: int(intOf(node, "exclusive", 0)),
        reverse: int(1 - intOf(node, "reverse", 0)),
      }),
    null,
  ],
};

export const GATHER: readonly GradientRule[] = [
  gather,
  gatherNd,
  gatherElements,
  scatterNd,
  scatterElements,
  cumSum,
];
