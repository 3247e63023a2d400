/**
 * Convolutions and pools. tfjs has the channels last: [N, C, h, w] -> [N, h, w, C] and back; one spatial axis gets
 * a second of length 1. Padding is added before, so that all windows lie inside.
 */
import { intOf, intsOf } from "../../onnx/graph.ts";
import { type Window, windowOf } from "../../onnx/operators/products.ts";
import type { Operation } from "../../onnx/program.ts";
import type { Kernel, Tf, TfTensor } from "./kernel.ts";

/** The window of a node as two axes. */
function planeWindow(call: Operation, kernel: readonly number[]): Window {
  const window = windowOf(call, call.inputs[0]!.shape.slice(2), kernel);
  if (kernel.length === 2) return window;
  const { kernel: size, strides, dilations, before, after } = window;
  return {
    kernel: [...size, 1],
    strides: [...strides, 1],
    dilations: [...dilations, 1],
    before: [...before, 0],
    after: [...after, 0],
  };
}

const pair = (values: readonly number[]): [number, number] => [values[0]!, values[1]!];

const plane = (tf: Tf, x: TfTensor): TfTensor => (x.rank === 3 ? tf.expandDims(x, 3) : x);
const channelsLast = (tf: Tf, x: TfTensor): TfTensor => tf.transpose(plane(tf, x), [0, 2, 3, 1]);
const channelsFirst = (tf: Tf, y: TfTensor, shape: readonly number[]): TfTensor =>
  tf.reshape(tf.transpose(y, [0, 3, 1, 2]), [...shape]);

function padded(
  tf: Tf,
  x: TfTensor,
  before: readonly number[],
  after: readonly number[],
  value = 0,
): TfTensor {
  if ([...before, ...after].every((n) => n === 0)) return x;
  return tf.pad(
    x,
    [
      [0, 0],
      [before[0]!, after[0]!],
      [before[1]!, after[1]!],
      [0, 0],
    ],
    value,
  );
}

/** @param x [N, h, w, C] @param w [O, C / groups, kh, kw] */
function convolve(
  tf: Tf,
  x: TfTensor,
  w: TfTensor,
  groups: number,
  { strides, dilations }: Pick<Window, "strides" | "dilations">,
): TfTensor {
  const inputs = groups === 1 ? [x] : tf.split(x, groups, 3);
  const filters = groups === 1 ? [w] : tf.split(w, groups, 0);
  const outputs = inputs.map((part, i) =>
    tf.conv2d(
      part as never, // rank 4 by channelsLast
      tf.transpose(filters[i]!, [2, 3, 1, 0]) as never,
      pair(strides),
      "valid",
      "NHWC",
      pair(dilations),
    ),
  );
  return outputs.length === 1 ? outputs[0]! : tf.concat(outputs as TfTensor[], 3);
}

const refusesSpace = (call: Operation): string | undefined => {
  const axes = call.inputs[0]!.shape.length - 2;
  return axes === 1 || axes === 2 ? undefined : `1 or 2 spatial axes are computed, got ${axes}`;
};

const someAbove1 = (values: readonly number[] | undefined): boolean => (values ?? []).some((n) => n > 1);

const conv: Kernel = {
  op: "Conv",
  refuses: (call) =>
    refusesSpace(call) ??
    (someAbove1(intsOf(call, "strides")) && someAbove1(intsOf(call, "dilations"))
      ? "strides and dilations above 1 together are not computed"
      : undefined),
  run(tf, [x, w, bias], call) {
    const window = planeWindow(call, call.inputs[1]!.shape.slice(2));
    const whole = padded(tf, channelsLast(tf, x!), window.before, window.after);
    const y = convolve(tf, whole, plane(tf, w!), intOf(call, "group", 1), window);
    return channelsFirst(tf, bias === undefined ? y : tf.add(y, bias), call.outputs[0]!.shape);
  },
};

/** Zeros between the elements and around them, then a convolution with the kernel turned around. */
const convTranspose: Kernel = {
  op: "ConvTranspose",
  refuses: refusesSpace,
  run(tf, [x, w, bias], call) {
    const { kernel, strides, dilations, before, after } = planeWindow(call, call.inputs[1]!.shape.slice(2));
    const groups = intOf(call, "group", 1);
    const [n, h, wide, c] = channelsLast(tf, x!).shape as [number, number, number, number];
    const apart = tf.pad(tf.reshape(channelsLast(tf, x!), [n, h, 1, wide, 1, c]), [
      [0, 0],
      [0, 0],
      [0, strides[0]! - 1],
      [0, 0],
      [0, strides[1]! - 1],
      [0, 0],
    ]);
    const spread = tf.slice(
      tf.reshape(apart, [n, h * strides[0]!, wide * strides[1]!, c]),
      [0, 0, 0, 0],
      [n, (h - 1) * strides[0]! + 1, (wide - 1) * strides[1]! + 1, c],
    );
    const extra = [...(intsOf(call, "output_padding") ?? []), 0, 0];
    const margin = (pads: readonly number[], more: readonly number[]): number[] =>
      pads.map((pad, i) => (kernel[i]! - 1) * dilations[i]! - pad + more[i]!);
    const [low, high] = [margin(before, [0, 0]), margin(after, extra)];
    const positive = (values: readonly number[]): number[] => values.map((v) => Math.max(0, v));
    const cut = padded(tf, spread, positive(low), positive(high));
    // Where the padding is wider than the kernel reaches, elements fall off instead.
    const begin = [0, Math.max(0, -low[0]!), Math.max(0, -low[1]!), 0];
    const size = cut.shape.map((dim, i) =>
      i === 1 || i === 2 ? dim - begin[i]! - Math.max(0, -high[i - 1]!) : dim,
    );
    const inner = tf.slice(cut, begin, size);
    // [C, O / groups, kh, kw] -> [O, C / groups, kh, kw], turned around.
    const filters = tf.split(tf.reverse(plane(tf, w!), [2, 3]), groups, 0);
    const turned = tf.concat(
      filters.map((filter) => tf.transpose(filter, [1, 0, 2, 3])),
      0,
    );
    const y = convolve(tf, inner, turned, groups, { strides: [1, 1], dilations });
    return channelsFirst(tf, bias === undefined ? y : tf.add(y, bias), call.outputs[0]!.shape);
  },
};

const refusesPool = (call: Operation): string | undefined =>
  refusesSpace(call) ??
  (someAbove1(intsOf(call, "dilations")) || intOf(call, "ceil_mode", 0) !== 0
    ? "dilations and ceil_mode are not computed"
    : undefined);

const averagePool: Kernel = {
  op: "AveragePool",
  refuses: refusesPool,
  run(tf, [x], call) {
    const { kernel, strides, before, after } = planeWindow(call, intsOf(call, "kernel_shape") ?? []);
    const mean = (values: TfTensor): TfTensor =>
      tf.avgPool(padded(tf, values, before, after) as never, pair(kernel), pair(strides), "valid"); // rank 4
    const last = channelsLast(tf, x!);
    const all = mean(last);
    // Padding counts only where the node says so: the mean of ones is the share that is none.
    const y = intOf(call, "count_include_pad", 0) === 1 ? all : tf.div(all, mean(tf.onesLike(last)));
    return channelsFirst(tf, y, call.outputs[0]!.shape);
  },
};

const maxPool: Kernel = {
  op: "MaxPool",
  refuses: (call) => refusesPool(call) ?? (call.outputCount > 1 ? "its indices are not computed" : undefined),
  run(tf, [x], call) {
    const { kernel, strides, before, after } = planeWindow(call, intsOf(call, "kernel_shape") ?? []);
    const whole = padded(tf, channelsLast(tf, x!), before, after, Number.NEGATIVE_INFINITY);
    const y = tf.maxPool(whole as never, pair(kernel), pair(strides), "valid"); // rank 4 by channelsLast
    return channelsFirst(tf, y, call.outputs[0]!.shape);
  },
};

export const WINDOWS: readonly Kernel[] = [
  conv,
  convTranspose,
  averagePool,
  maxPool,
  {
    op: "GlobalAveragePool",
    run: (tf, [x]) => tf.mean(x!, x!.shape.map((_, i) => i).slice(2), true),
  },
];
