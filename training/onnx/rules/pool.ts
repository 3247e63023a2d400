/**
 * Pools. An average spreads its gradient evenly over its window, a maximum gives it to the element that it took.
 *
 * AveragePool is differentiated where windows neither overlap nor are padded, as patch pooling has them.
 */
import { sizeOf } from "../../../adapters/tensor.ts";
import { intOf, intsOf } from "../graph.ts";
import { windowOf } from "../operators/products.ts";
import { type GradientRule, refuse } from "./rule.ts";

export const globalAveragePool: GradientRule = {
  op: "GlobalAveragePool",
  opset: [1, 24],
  backward: (node, [dy], g) => [
    () => {
      const { shape } = node.inputs[0]!;
      return g.expand(g.mul(dy!, 1 / sizeOf(shape.slice(2))), shape);
    },
  ],
};

/** Which elements were taken is asked of the kernel: its second result counts through the whole input. */
export const maxPool: GradientRule = {
  op: "MaxPool",
  opset: [8, 24],
  backward(node, [dy], g) {
    if (intOf(node, "storage_order", 0) !== 0) refuse(node, "storage_order must be 0");
    const x = node.inputs[0]!;
    return [
      () => {
        const [, indices] = g.builder.emit(node.op, [x], node.attributes, { outputCount: 2 });
        const count = sizeOf(dy!.shape);
        const places = g.reshape(indices!, [count, 1]);
        return g.reshape(g.scatter([sizeOf(x.shape)], places, g.reshape(dy!, [count])), x.shape);
      },
    ];
  },
};

export const averagePool: GradientRule = {
  op: "AveragePool",
  opset: [7, 24],
  backward(node, [dy], g) {
    const { shape } = node.inputs[0]!;
    const { kernel, strides, before, after } = windowOf(
      node,
      shape.slice(2),
      intsOf(node, "kernel_shape") ?? [],
    );
    const tiles = kernel.every((size, i) => size === strides[i] && shape[i + 2]! % size === 0);
    if (!tiles || [...before, ...after].some((pad) => pad !== 0))
      refuse(node, "windows must tile the input without overlap and padding");
    return [
      () => {
        // [N, C, h, w] -> [N, C, h, 1, w, 1] -> [N, C, h, kh, w, kw]
        const apart = dy!.shape.slice(2).flatMap((dim) => [dim, 1]);
        const spread = dy!.shape.slice(2).flatMap((dim, i) => [dim, kernel[i]!]);
        const front = dy!.shape.slice(0, 2);
        const even = g.mul(g.reshape(dy!, [...front, ...apart]), 1 / sizeOf(kernel));
        return g.reshape(g.expand(even, [...front, ...spread]), shape);
      },
    ];
  },
};
