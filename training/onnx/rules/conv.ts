/**
 * Convolution over any number of spatial axes.
 *
 *   dX = ConvTranspose(dY, W)        the same strides, dilations, pads and groups
 *   dW = Conv(Xᵀ, dYᵀ)               batch and channels change places, strides and dilations too
 *   dB = dY summed over batch and space
 *
 * dW may come out longer than the kernel where strides skip the last positions; it is cut.
 * Source: https://onnx.ai/onnx/operators/onnx__Conv.html
 */
import { int, intOf, ints } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { type Window, windowOf } from "../operators/products.ts";
import type { Operation, Value } from "../program.ts";
import type { GradientRule } from "./rule.ts";

export const conv: GradientRule = {
  op: "Conv",
  opset: [1, 24],
  backward(node, [dy], g) {
    const [x, w, bias] = [node.inputs[0]!, node.inputs[1]!, node.inputs[2]];
    const spatial = dy!.shape.map((_, axis) => axis).slice(2);
    return [
      () => inputGradient(node, dy!, g),
      () => {
        const groups = intOf(node, "group", 1);
        const part = (value: Value, axis: number, i: number): Value => {
          const width = value.shape[axis]! / groups;
          return g.slice(value, axis, i * width, (i + 1) * width);
        };
        const window = windowOf(node, x.shape.slice(2), w.shape.slice(2));
        const parts = Array.from({ length: groups }, (_, i) =>
          kernelGradient(part(x, 1, i), part(dy!, 1, i), window, g),
        );
        return g.concat(parts, 0);
      },
      bias === undefined ? null : () => g.reshape(g.reduceSum(dy!, [0, ...spatial]), bias.shape),
    ];
  },
};

function inputGradient(node: Operation, dy: Value, g: Maths): Value {
  const [x, w] = [node.inputs[0]!, node.inputs[1]!];
  const { kernel, strides, dilations, before, after } = windowOf(node, x.shape.slice(2), w.shape.slice(2));
  const missing = kernel.map((size, i) => {
    const reach = (dy.shape[i + 2]! - 1) * strides[i]! + (size - 1) * dilations[i]! + 1;
    return x.shape[i + 2]! - (reach - before[i]! - after[i]!);
  });
  return g.op("ConvTranspose", [dy, w], {
    strides: ints(strides),
    dilations: ints(dilations),
    pads: ints([...before, ...after]),
    output_padding: ints(missing),
    group: int(intOf(node, "group", 1)),
  });
}

/** x [N, C, ...] and dy [N, O, ...] of one group -> [O, C, kernel...] */
function kernelGradient(x: Value, dy: Value, window: Window, g: Maths): Value {
  const swapped = (value: Value): Value =>
    g.transpose(value, [1, 0, ...value.shape.map((_, i) => i).slice(2)]);
  const { kernel, strides, dilations, before, after } = window;
  const whole = g.op("Conv", [swapped(x), swapped(dy)], {
    strides: ints(dilations),
    dilations: ints(strides),
    pads: ints([...before, ...after]),
  });
  const cut = kernel.reduce((value, size, i) => g.slice(value, i + 2, 0, size), whole);
  return swapped(cut);
}
