/** Operators that move elements without computing with them. */
import { intOf, stringOf } from "../../onnx/graph.ts";
import { numbersOf } from "../../onnx/numbers.ts";
import { integers } from "../../onnx/operators/known.ts";
import { padsOf, permOf, sliceOf, splitSizes } from "../../onnx/operators/layout.ts";
import { axisOf, type Operation } from "../../onnx/program.ts";
import type { Kernel, Tf, TfTensor } from "./kernel.ts";

/** The same elements in the shape that the program states. */
const reshaped = (op: string): Kernel => ({
  op,
  stated: [1],
  run: (tf, [x], call) => tf.reshape(x!, [...call.outputs[0]!.shape]),
});

/** A piece of a tensor; along axes with another step than 1 the places are picked one by one. */
function sliced(
  tf: Tf,
  x: TfTensor,
  axes: readonly { start: number; step: number; length: number }[],
): TfTensor {
  const whole = axes.map(({ start, step, length }, axis) =>
    step === 1 ? { start, length } : { start: 0, length: x.shape[axis]! },
  );
  const dense = tf.slice(
    x,
    whole.map(({ start }) => start),
    whole.map(({ length }) => length),
  );
  return axes.reduce((piece, { start, step, length }, axis) => {
    if (step === 1) return piece;
    const places = Int32Array.from({ length }, (_, i) => start + i * step);
    return tf.gather(piece, tf.tensor1d(places, "int32"), axis);
  }, dense);
}

const PAD_MODES = new Set(["constant", "reflect"]);

const pad: Kernel = {
  op: "Pad",
  stated: [1, 2, 3],
  refuses(call) {
    const mode = stringOf(call, "mode", "constant");
    if (!PAD_MODES.has(mode)) return `mode must be "constant" or "reflect", got "${mode}"`;
    const value = call.inputs[2];
    return value !== undefined && value.weight === undefined ? "its value must be a constant" : undefined;
  },
  run(tf, [x], call) {
    const pads = padsOf(call);
    const kept = pads.map(({ before, after }, axis) => {
      const start = Math.max(0, -before);
      return { start, step: 1, length: x!.shape[axis]! - start - Math.max(0, -after) };
    });
    const cut = pads.some(({ before, after }) => before < 0 || after < 0) ? sliced(tf, x!, kept) : x!;
    const added = pads.map(({ before, after }): [number, number] => [
      Math.max(0, before),
      Math.max(0, after),
    ]);
    if (stringOf(call, "mode", "constant") === "reflect") return tf.mirrorPad(cut, added, "reflect");
    const value = call.inputs[2]?.weight;
    return tf.pad(cut, added, (value && numbersOf(value)?.data[0]) ?? 0);
  },
};

/** Keeps one side of a diagonal, the other becomes zero. */
const trilu: Kernel = {
  op: "Trilu",
  stated: [1],
  run(tf, [x], call) {
    const [rows, columns] = x!.shape.slice(-2) as [number, number];
    const diagonal = call.inputs[1] === undefined ? 0 : integers(call, 1)[0]!;
    const upper = intOf(call, "upper", 1) === 1;
    const kept = Uint8Array.from({ length: rows * columns }, (_, at) => {
      const past = (at % columns) - Math.floor(at / columns) - diagonal;
      return (upper ? past >= 0 : past <= 0) ? 1 : 0;
    });
    const mask = tf.broadcastTo(tf.tensor(kept, [rows, columns], "bool"), x!.shape);
    return tf.where(mask, x!, tf.zerosLike(x!));
  },
};

/** Blocks of channels become blocks of space; "CRD" has the channel first, "DCR" the place in the block. */
const depthToSpace: Kernel = {
  op: "DepthToSpace",
  run(tf, [x], call) {
    const [n, c, h, w] = x!.shape as [number, number, number, number];
    const b = intOf(call, "blocksize", 1);
    const depth = c / (b * b);
    const crd = stringOf(call, "mode", "DCR") === "CRD";
    const apart = tf.reshape(x!, crd ? [n, depth, b, b, h, w] : [n, b, b, depth, h, w]);
    const moved = tf.transpose(apart, crd ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]);
    return tf.reshape(moved, [n, depth, h * b, w * b]);
  },
};

const spaceToDepth: Kernel = {
  op: "SpaceToDepth",
  run(tf, [x], call) {
    const [n, c, h, w] = x!.shape as [number, number, number, number];
    const b = intOf(call, "blocksize", 1);
    const apart = tf.reshape(x!, [n, c, h / b, b, w / b, b]);
    return tf.reshape(tf.transpose(apart, [0, 3, 5, 1, 2, 4]), [n, c * b * b, h / b, w / b]);
  },
};

const axisIn = (call: Operation, absent: number): number =>
  axisOf(intOf(call, "axis", absent), call.inputs[0]!.shape.length);

export const LAYOUT: readonly Kernel[] = [
  ...["Reshape", "Squeeze", "Unsqueeze", "Flatten"].map(reshaped),
  { op: "Transpose", run: (tf, [x], call) => tf.transpose(x!, [...permOf(call)]) },
  {
    op: "Concat",
    run: (tf, inputs, call) =>
      tf.concat(
        inputs.map((x) => x!),
        axisIn(call, 0),
      ),
  },
  { op: "Split", stated: [1], run: (tf, [x], call) => tf.split(x!, splitSizes(call), axisIn(call, 0)) },
  { op: "Slice", stated: [1, 2, 3, 4], run: (tf, [x], call) => sliced(tf, x!, sliceOf(call)) },
  {
    op: "Expand",
    stated: [1],
    run: (tf, [x], call) => tf.broadcastTo(x!, [...call.outputs[0]!.shape]),
  },
  { op: "Tile", stated: [1], run: (tf, [x], call) => tf.tile(x!, [...integers(call, 1)]) },
  pad,
  trilu,
  depthToSpace,
  spaceToDepth,
];
