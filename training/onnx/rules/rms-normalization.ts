/**
 * y = x inv scale over the axes from `axis` on, inv = 1 / sqrt(mean(x²) + epsilon).
 *
 *   t = dy scale
 *   dx = inv (t - x inv² mean(t x))      dscale = Σ dy x inv
 *
 * SimplifiedLayerNormalization is the runtime's name for it from before the standard had one.
 * Source: https://onnx.ai/onnx/operators/onnx__RMSNormalization.html
 */
import { floatOf, intOf } from "../graph.ts";
import { axisOf } from "../program.ts";
import { type GradientRule, refuse } from "./rule.ts";

const rule = (op: string, opset: readonly [number, number]): GradientRule => ({
  op,
  opset,
  backward(node, [dy, ...statistics], g) {
    if (statistics.some((d) => d !== undefined)) refuse(node, "its deviation must not be used");
    const [given, weight] = [node.inputs[0]!, node.inputs[1]!];
    // The deviation is float32 in float16 graphs too, and squares of float16 overflow from 256 on.
    const type = given.type === "F16" ? "F32" : given.type;
    const [x, scale] = [g.cast(given, type), g.cast(weight, type)];
    const slope = dy && g.cast(dy, type);
    const from = axisOf(intOf(node, "axis", -1), x.shape.length);
    const axes = x.shape.map((_, i) => i).slice(from);
    const inverse = () => {
      if (node.outputs[1] !== undefined) return node.outputs[1];
      const square = g.reduceMean(g.mul(x, x), axes);
      const epsilon = g.scalar(floatOf(node, "epsilon", 1e-5), x);
      return g.op("Reciprocal", [g.op("Sqrt", [g.add(square, epsilon)])]);
    };
    return [
      () => {
        const inv = inverse();
        const t = g.mul(slope!, scale);
        const along = g.mul(g.reduceMean(g.mul(t, x), axes), g.mul(inv, inv));
        return g.cast(g.mul(g.sub(t, g.mul(x, along)), inv), given.type);
      },
      () => g.cast(g.sumTo(g.mul(g.mul(slope!, x), inverse()), scale), weight.type),
    ];
  },
});

export const rmsNormalization = rule("RMSNormalization", [23, 24]);
export const simplifiedLayerNormalization = rule("SimplifiedLayerNormalization", [1, 24]);
