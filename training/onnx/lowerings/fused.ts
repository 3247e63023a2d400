/** com.microsoft operators that join a product or a sum with something simple. */
import { rmsNormalized } from "../forms/rms-norm.ts";
import { floatOf, intOf, string } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Value } from "../program.ts";
import { refuse } from "../rules/rule.ts";
import type { Lowering } from "./lowering.ts";

/** alpha A'·B', each transposed in its last two axes on request. */
export const fusedMatMul: Lowering = {
  op: "FusedMatMul",
  domain: "com.microsoft",
  opset: [1, 1],
  lower(call, g) {
    if (intOf(call, "transBatchA", 0) + intOf(call, "transBatchB", 0) > 0)
      refuse(call, "transBatchA and transBatchB must be 0");
    const [a, b] = call.inputs as [Value, Value];
    const turned = (x: Value, attribute: string): Value =>
      intOf(call, attribute, 0) === 1 ? g.transposeLast(x) : x;
    return [g.mul(g.matMul(turned(a, "transA"), turned(b, "transB")), floatOf(call, "alpha", 1))];
  },
};

const gelu = (x: Value, approximate: "none" | "tanh", g: Maths): Value =>
  g.op("Gelu", [x], { approximate: string(approximate) });

export const biasGelu: Lowering = {
  op: "BiasGelu",
  domain: "com.microsoft",
  opset: [1, 1],
  lower: (call, g) => [gelu(g.add(call.inputs[0]!, call.inputs[1]!), "none", g)],
};

export const fastGelu: Lowering = {
  op: "FastGelu",
  domain: "com.microsoft",
  opset: [1, 1],
  lower(call, g) {
    const [x, bias] = call.inputs;
    return [gelu(bias ? g.add(x!, bias) : x!, "tanh", g)];
  },
};

/** x rms(x) scale: the standard's name from opset 23 on; the runtime's older kernel is the same. */
export const rmsNormalization: Lowering = {
  op: "RMSNormalization",
  domain: "",
  opset: [23, 24],
  lower(call, g) {
    const [x, scale] = call.inputs as [Value, Value];
    return [rmsNormalized(x, scale, intOf(call, "axis", -1), floatOf(call, "epsilon", 1e-5), g)];
  },
};
