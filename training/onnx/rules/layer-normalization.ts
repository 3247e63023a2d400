/**
 * y = (x - mean) inv scale + bias over the axes from `axis` on, inv = 1 / sqrt(var + epsilon).
 *
 *   n = (x - mean) inv,  t = dy scale
 *   dx = inv (t - mean(t) - n mean(t n))      dscale = Σ dy n      dbias = Σ dy
 *
 * Source: https://onnx.ai/onnx/operators/onnx__LayerNormalization.html
 */
import { floatOf, intOf } from "../graph.ts";
import { axisOf } from "../program.ts";
import { type GradientRule, refuse } from "./rule.ts";

export const layerNormalization: GradientRule = {
  op: "LayerNormalization",
  opset: [17, 24],
  backward(node, [dy, ...statistics], g) {
    if (statistics.some((d) => d !== undefined)) refuse(node, "its mean and deviation must not be used");
    const [x, scale, bias] = [node.inputs[0]!, node.inputs[1]!, node.inputs[2]];
    const from = axisOf(intOf(node, "axis", -1), x.shape.length);
    const axes = x.shape.map((_, i) => i).slice(from);
    const centered = () => g.sub(x, g.reduceMean(x, axes));
    const inverse = () => {
      const variance = g.reduceMean(g.mul(centered(), centered()), axes);
      const epsilon = g.scalar(floatOf(node, "epsilon", 1e-5), x);
      return g.op("Reciprocal", [g.op("Sqrt", [g.add(variance, epsilon)])]);
    };
    const normal = () => g.mul(centered(), inverse());
    return [
      () => {
        const t = g.mul(dy!, scale);
        const along = g.mul(normal(), g.reduceMean(g.mul(t, normal()), axes));
        return g.mul(g.sub(g.sub(t, g.reduceMean(t, axes)), along), inverse());
      },
      () => g.sumTo(g.mul(dy!, normal()), scale),
      bias === undefined ? null : () => g.sumTo(dy!, bias),
    ];
  },
};
