/**
 * Operators that pick elements by index, and those that put them back: the gradient of a pick is a sum into
 * the places picked from (an index that comes twice adds up), that of a put is a pick.
 *
 * Indices are integers and have no gradient.
 */
import { sizeOf } from "../../../adapters/tensor.ts";
import { int, intOf, string, stringOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { axisOf, type Value } from "../program.ts";
import { type GradientRule, refuse } from "./rule.ts";

/** The runtime's ScatterND with reduction takes no negative indices. */
function nonNegative(indices: Value, dim: number, g: Maths): Value {
  const negative = g.op("Less", [indices, g.scalar(0, indices)]);
  return g.where(negative, g.add(indices, g.scalar(dim, indices)), indices);
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
      const places = g.reshape(nonNegative(g.cast(indices, "I64"), x.shape[axis]!, g), [count, 1]);
      const sum = g.scatter([x.shape[axis]!, sizeOf(outer), sizeOf(inner)], places, moved);
      return g.reshape(g.transpose(sum, [1, 0, 2]), x.shape);
    },
    null,
  ],
};

const gatherNd: GradientRule = {
  op: "GatherND",
  opset: [11, 24],
  backward(node, [dy], g) {
    if (intOf(node, "batch_dims", 0) !== 0) refuse(node, "batch_dims must be 0");
    return [() => g.scatter(node.inputs[0]!.shape, node.inputs[1]!, dy!), null];
  },
};

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
