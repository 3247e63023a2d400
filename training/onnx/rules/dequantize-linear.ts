/**
 * y = (x - zero) scale, with one scale for the whole tensor, for each index of `axis`, or for each block along it.
 *
 *   dscale = Σ dy (x - zero)      summed over the elements that share the scale; integers have no gradient
 *
 * x - zero is y at scale 1, so nothing is divided by a scale that may be 0.
 * Source: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
 */
import { sizeOf } from "../../../adapters/tensor.ts";
import { intOf } from "../graph.ts";
import { axisOf, type Operation } from "../program.ts";
import type { GradientRule } from "./rule.ts";

const rule = (domain: string, opset: readonly [number, number]): GradientRule => ({
  op: "DequantizeLinear",
  domain,
  opset,
  backward: (node, [dy], g) => [
    null,
    () => {
      const [x, scale, zero] = [node.inputs[0]!, node.inputs[1]!, node.inputs[2]];
      const one = g.filled(1, scale.shape, scale.type);
      const terms = g.mul(dy!, g.op(node.op, [x, one, zero], node.attributes, domain));
      const { shape, axes } = shares(node);
      return g.reshape(g.reduceSum(g.reshape(terms, shape), axes), scale.shape);
    },
    null,
  ],
});

/** A view of the elements, and the axes of it along which they share a scale. */
function shares(node: Operation): { shape: readonly number[]; axes: readonly number[] } {
  const [{ shape }, scale] = [node.inputs[0]!, node.inputs[1]!];
  if (sizeOf(scale.shape) === 1) return { shape, axes: shape.map((_, axis) => axis) };
  const axis = axisOf(intOf(node, "axis", 1), shape.length);
  const block = intOf(node, "block_size", 0);
  if (block === 0) return { shape, axes: shape.flatMap((_, i) => (i === axis ? [] : [i])) };
  const dim = shape[axis]!;
  return { shape: [...shape.slice(0, axis), dim / block, block, ...shape.slice(axis + 1)], axes: [axis + 1] };
}

export const dequantizeLinear = rule("", [10, 24]);
export const msDequantizeLinear = rule("com.microsoft", [1, 1]);
