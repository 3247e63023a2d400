/**
 * Softmax and LogSoftmax of operator sets below 13: all axes from `axis` on are one.
 *
 * Source: https://onnx.ai/onnx/operators/text_diff_Softmax_11_13.html
 */
import { sizeOf } from "../../../adapters/tensor.ts";
import { int, intOf } from "../graph.ts";
import { axisOf } from "../program.ts";
import type { Lowering } from "./lowering.ts";

/** The operator of ours that upgrade.ts makes of them; `log` tells which of both it was. */
export const SOFTMAX_FROM = "SoftmaxFrom";

export const softmaxFrom: Lowering = {
  op: SOFTMAX_FROM,
  domain: "fedloom",
  opset: [1, 1],
  lower(call, g) {
    const x = call.inputs[0]!;
    const axis = axisOf(intOf(call, "axis", 1), x.shape.length);
    const flat = g.reshape(x, [...x.shape.slice(0, axis), sizeOf(x.shape.slice(axis))]);
    const op = intOf(call, "log", 0) === 1 ? "LogSoftmax" : "Softmax";
    return [g.reshape(g.op(op, [flat], { axis: int(-1) }), x.shape)];
  },
};
