/** Reductions over axes (opset 18: axes are an input) and normalizations along them. */
import { sizeOf } from "../../../adapters/tensor.ts";
import { intOf } from "../graph.ts";
import { axisOf, type Call, stridesOf } from "../program.ts";
import { optionalIntegers } from "./known.ts";
import { need, type OperatorKind, oneLike } from "./operator.ts";

/** The axes that a Reduce goes over; none given means all, or none where `noop_with_empty_axes` is set. */
export function reducedAxes(call: Call): number[] {
  const x = need(call, 0);
  const axes = optionalIntegers(call, 1);
  if (axes === undefined || axes.length === 0)
    return intOf(call, "noop_with_empty_axes", 0) === 1 ? [] : x.shape.map((_, i) => i);
  return axes.map((axis) => axisOf(axis, x.shape.length)).sort((a, b) => a - b);
}

function reduction(op: string, start?: number, combine?: (sum: number, x: number) => number): OperatorKind {
  const infer = (call: Call) => {
    const x = need(call, 0);
    const axes = reducedAxes(call);
    const keep = intOf(call, "keepdims", 1) === 1;
    return oneLike(
      x.type,
      keep
        ? x.shape.map((dim, i) => (axes.includes(i) ? 1 : dim))
        : x.shape.filter((_, i) => !axes.includes(i)),
    );
  };
  if (combine === undefined) return { op, infer };
  return {
    op,
    infer,
    evaluate: (call, [x]) => {
      const axes = reducedAxes(call);
      const kept = x!.shape.map((dim, i) => (axes.includes(i) ? 1 : dim));
      const keptSteps = stridesOf(kept);
      const steps = stridesOf(x!.shape);
      const data = new Float64Array(sizeOf(kept)).fill(start!);
      for (let at = 0; at < x!.data.length; at++) {
        let target = 0;
        for (let axis = 0; axis < kept.length; axis++)
          if (kept[axis] !== 1)
            target += (Math.floor(at / steps[axis]!) % x!.shape[axis]!) * keptSteps[axis]!;
        data[target] = combine(data[target]!, x!.data[at]!);
      }
      return [{ type: x!.type, shape: infer(call)[0]!.shape, data }];
    },
  };
}

const first = (op: string, domain = ""): OperatorKind => ({
  op,
  domain,
  infer: (call) => oneLike(need(call, 0).type, need(call, 0).shape),
});

/** The shape of the mean and inverse deviation that a normalization may give beside its result. */
function withStatistics(op: string, domain: string, statistics: number, axisAbsent = -1): OperatorKind {
  return {
    op,
    domain,
    infer: (call) => {
      const x = need(call, 0);
      const axis = axisOf(intOf(call, "axis", axisAbsent), x.shape.length);
      const shape = x.shape.map((dim, i) => (i >= axis ? 1 : dim));
      const side = Array.from({ length: statistics }, () => ({ type: "F32" as const, shape }));
      return [{ type: x.type, shape: x.shape }, ...side].slice(0, call.outputCount);
    },
  };
}

export const REDUCTIONS: readonly OperatorKind[] = [
  reduction("ReduceSum", 0, (sum, x) => sum + x),
  reduction("ReduceMax", Number.NEGATIVE_INFINITY, Math.max),
  reduction("ReduceMin", Number.POSITIVE_INFINITY, Math.min),
  reduction("ReduceProd", 1, (product, x) => product * x),
  ...["ReduceMean", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"].map((op) =>
    reduction(op),
  ),
  first("Softmax"),
  first("LogSoftmax"),
  first("GroupNormalization"),
  first("InstanceNormalization"),
  first("BatchNormalization"),
  first("LpNormalization"),
  withStatistics("LayerNormalization", "", 2),
  withStatistics("RMSNormalization", "", 0),
  // Registered by the runtime in the standard's domain, although the standard does not have it.
  withStatistics("SimplifiedLayerNormalization", "", 1),
];
