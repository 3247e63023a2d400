/** Operators that join a product, a sum or a sigmoid with something simple. */
import { rmsNormalized } from "../forms/rms-norm.ts";
import { float, floatOf, intOf, string } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Call, Value } from "../program.ts";
import type { Lowering } from "./lowering.ts";

/** An operand with its last two axes exchanged (trans), and its first moved before the last (transBatch), on request. */
function operand(call: Call, x: Value, side: "A" | "B", g: Maths): Value {
  const rest = x.shape.map((_, axis) => axis).slice(1, -1);
  const inner =
    intOf(call, `transBatch${side}`, 0) === 1 ? g.transpose(x, [...rest, 0, x.shape.length - 1]) : x;
  return intOf(call, `trans${side}`, 0) === 1 ? g.transposeLast(inner) : inner;
}

/** What a linear layer reads, taken off its product (lower/products.ts). */
export const turned: Lowering = {
  op: "Turned",
  domain: "fedloom",
  opset: [1, 1],
  lower: (call, g) => [operand(call, call.inputs[0]!, "A", g)],
};

/** alpha A'·B' */
export const fusedMatMul: Lowering = {
  op: "FusedMatMul",
  domain: "com.microsoft",
  opset: [1, 1],
  lower(call, g) {
    const [a, b] = call.inputs as [Value, Value];
    return [g.mul(g.matMul(operand(call, a, "A", g), operand(call, b, "B", g)), floatOf(call, "alpha", 1))];
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

/** x sigmoid(alpha x): the standard's name from opset 24 on; the runtime's older kernel is the same. */
export const swish: Lowering = {
  op: "Swish",
  domain: "",
  opset: [24, 24],
  lower: (call, g) => [
    g.op("QuickGelu", [call.inputs[0]!], { alpha: float(floatOf(call, "alpha", 1)) }, "com.microsoft"),
  ],
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
