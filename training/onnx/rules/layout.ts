/** Operators that only move elements: the gradient moves them back. */
import { intOf, ints, stringOf } from "../graph.ts";
import { padsOf, permOf, sliceOf, splitSizes } from "../operators/layout.ts";
import { axisOf } from "../program.ts";
import { type GradientRule, refuse } from "./rule.ts";

/** Reshape, Squeeze, Unsqueeze and Flatten: the same elements in the same order. */
const reshaped = (op: string): GradientRule => ({
  op,
  opset: [1, 24],
  backward: (node, [dy], g) => [() => g.reshape(dy!, node.inputs[0]!.shape), null],
});

const transpose: GradientRule = {
  op: "Transpose",
  opset: [1, 24],
  backward: (node, [dy], g) => [
    () => {
      const perm = permOf(node);
      return g.op("Transpose", [dy!], { perm: ints(perm.map((_, axis) => perm.indexOf(axis))) });
    },
  ],
};

const concat: GradientRule = {
  op: "Concat",
  opset: [4, 24],
  backward(node, [dy], g) {
    const axis = axisOf(intOf(node, "axis", 0), dy!.shape.length);
    let at = 0;
    return node.inputs.map((input) => {
      const from = at;
      at += input!.shape[axis]!;
      const to = at;
      return () => g.slice(dy!, axis, from, to);
    });
  },
};

const split: GradientRule = {
  op: "Split",
  opset: [1, 24],
  backward: (node, dys, g) => [
    () => {
      const x = node.inputs[0]!;
      const axis = axisOf(intOf(node, "axis", 0), x.shape.length);
      const parts = splitSizes(node).map((_, i) => dys[i] ?? g.filled(0, node.outputs[i]!.shape, x.type));
      return g.concat(parts, axis);
    },
    null,
  ],
};

/** Zeros around the part that was taken; with steps the gradient is scattered along each stepped axis. */
const slice: GradientRule = {
  op: "Slice",
  opset: [1, 24],
  backward: (node, [dy], g) => [
    () => {
      const x = node.inputs[0]!;
      let part = dy!;
      sliceOf(node).forEach(({ start, step, length }, axis) => {
        const dim = x.shape[axis]!;
        if (length === dim && step === 1) return;
        if (step === 1) {
          const pads = [start, dim - start - length].map((v) => g.builder.integers([v]));
          const both = g.concat(pads, 0);
          part = g.op("Pad", [part, both, g.scalar(0, part), g.builder.integers([axis])]);
          return;
        }
        const places = Array.from({ length }, (_, i) => start + i * step);
        const front = [axis, ...part.shape.map((_, i) => i).filter((i) => i !== axis)];
        const moved = g.transpose(part, front);
        const shape = [dim, ...moved.shape.slice(1)];
        const indices = g.reshape(g.builder.integers(places), [length, 1]);
        const back = front.map((_, i) => front.indexOf(i));
        part = g.transpose(g.scatter(shape, indices, moved), back);
      });
      return part;
    },
    null,
    null,
    null,
    null,
  ],
};

/** Pad with a constant: what was added has no gradient, what was cut (a negative pad) gets zeros. */
const pad: GradientRule = {
  op: "Pad",
  opset: [2, 24],
  backward(node, [dy], g) {
    const mode = node.attributes.mode?.value ?? "constant";
    if (mode !== "constant") refuse(node, `mode must be "constant", got "${mode}"`);
    return [
      () =>
        padsOf(node).reduce((part, { before, after }, axis) => {
          const kept = g.slice(part, axis, Math.max(0, before), part.shape[axis]! - Math.max(0, after));
          const cut = [before, after].map((pad) => g.builder.integers([Math.max(0, -pad)]));
          return g.op("Pad", [kept, g.concat(cut, 0), g.scalar(0, kept), g.builder.integers([axis])]);
        }, dy!),
      null,
      null,
      null,
    ];
  },
};

const expand: GradientRule = {
  op: "Expand",
  opset: [8, 24],
  backward: (node, [dy], g) => [() => g.sumTo(dy!, node.inputs[0]!), null],
};

/** Each repetition is an axis of its own, summed away. */
const tile: GradientRule = {
  op: "Tile",
  opset: [6, 24],
  backward: (node, [dy], g) => [
    () => {
      const x = node.inputs[0]!;
      const parts = x.shape.flatMap((dim, axis) => [dim === 0 ? 0 : dy!.shape[axis]! / dim, dim]);
      const sum = g.reduceSum(
        g.reshape(dy!, parts),
        x.shape.map((_, axis) => 2 * axis),
      );
      return g.reshape(sum, x.shape);
    },
    null,
  ],
};

const trilu: GradientRule = {
  op: "Trilu",
  opset: [14, 24],
  backward: (node, [dy], g) => [() => g.op("Trilu", [dy!, node.inputs[1]], node.attributes), null],
};

const spaceToDepth: GradientRule = {
  op: "SpaceToDepth",
  opset: [1, 24],
  backward: (node, [dy], g) => [() => g.op("DepthToSpace", [dy!], node.attributes)],
};

/** Blocks of space back to channels: in front of them (DCR), or behind, as PyTorch's pixel shuffle has it (CRD). */
const depthToSpace: GradientRule = {
  op: "DepthToSpace",
  opset: [1, 24],
  backward: (node, [dy], g) => [
    () => {
      const { shape } = node.inputs[0]!;
      const [batch, channels, height, width] = shape as [number, number, number, number];
      const block = intOf(node, "blocksize", 1);
      const order = stringOf(node, "mode", "DCR") === "CRD" ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
      const parts = [batch, channels / block ** 2, height, block, width, block];
      return g.reshape(g.transpose(g.reshape(dy!, parts), order), shape);
    },
  ],
};

export const LAYOUT: readonly GradientRule[] = [
  ...["Reshape", "Squeeze", "Unsqueeze", "Flatten"].map(reshaped),
  transpose,
  concat,
  split,
  slice,
  pad,
  expand,
  tile,
  trilu,
  depthToSpace,
  spaceToDepth,
];
