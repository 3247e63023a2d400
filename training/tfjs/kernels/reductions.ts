/** Reductions over axes and normalizations along them. */
import { floatOf, intOf } from "../../onnx/graph.ts";
import { reducedAxes } from "../../onnx/operators/reductions.ts";
import { axisOf } from "../../onnx/program.ts";
import { alongLast, type Kernel, type Tf, type TfTensor } from "./kernel.ts";

type Reduce = (tf: Tf, x: TfTensor, axes: number[], keep: boolean) => TfTensor;

const reduction = (op: string, reduce: Reduce): Kernel => ({
  op,
  stated: [1],
  run: (tf, [x], call) => reduce(tf, x!, reducedAxes(call), intOf(call, "keepdims", 1) === 1),
});

const REDUCE: readonly Kernel[] = [
  reduction("ReduceSum", (tf, x, axes, keep) => tf.sum(x, axes, keep)),
  reduction("ReduceMax", (tf, x, axes, keep) => tf.max(x, axes, keep)),
  reduction("ReduceMin", (tf, x, axes, keep) => tf.min(x, axes, keep)),
  reduction("ReduceProd", (tf, x, axes, keep) => tf.prod(x, axes, keep)),
  reduction("ReduceMean", (tf, x, axes, keep) => tf.cast(tf.mean(x, axes, keep), x.dtype)),
  reduction("ReduceL1", (tf, x, axes, keep) => tf.sum(tf.abs(x), axes, keep)),
  reduction("ReduceL2", (tf, x, axes, keep) => tf.sqrt(tf.sum(tf.square(x), axes, keep))),
  reduction("ReduceLogSum", (tf, x, axes, keep) => tf.log(tf.sum(x, axes, keep))),
  reduction("ReduceLogSumExp", (tf, x, axes, keep) => tf.logSumExp(x, axes, keep)),
  reduction("ReduceSumSquare", (tf, x, axes, keep) => tf.sum(tf.square(x), axes, keep)),
];

/** The axes from the one stated to the last. */
const trailing = (x: TfTensor, axis: number): number[] =>
  x.shape.map((_, i) => i).slice(axisOf(axis, x.rank));

/** x over its 1- or 2-norm along an axis, 0 where the norm is. */
const lpNormalization: Kernel = {
  op: "LpNormalization",
  run(tf, [x], call) {
    const axis = axisOf(intOf(call, "axis", -1), x!.rank);
    const norm =
      intOf(call, "p", 2) === 1 ? tf.sum(tf.abs(x!), axis, true) : tf.sqrt(tf.sum(tf.square(x!), axis, true));
    return tf.divNoNan(x!, norm);
  },
};

/** x / sqrt(mean x² + ε) γ and the factor before γ. */
const rootMeanSquare = (op: string): Kernel => ({
  op,
  run(tf, [x, scale], call) {
    const square = tf.mean(tf.square(x!), trailing(x!, intOf(call, "axis", -1)), true);
    const inverse = tf.rsqrt(tf.add(square, floatOf(call, "epsilon", 1e-5)));
    return [tf.mul(tf.mul(x!, inverse), scale!), inverse];
  },
});

export const REDUCTIONS: readonly Kernel[] = [
  ...REDUCE,
  {
    op: "Softmax",
    run: (tf, [x], call) => alongLast(tf, x!, intOf(call, "axis", -1), (last) => tf.softmax(last)),
  },
  {
    op: "LogSoftmax",
    run: (tf, [x], call) => alongLast(tf, x!, intOf(call, "axis", -1), (last) => tf.logSoftmax(last)),
  },
  {
    op: "LayerNormalization",
    run(tf, [x, scale, bias], call) {
      const axes = trailing(x!, intOf(call, "axis", -1));
      const mean = tf.mean(x!, axes, true);
      const centered = tf.sub(x!, mean);
      const variance = tf.mean(tf.square(centered), axes, true);
      const inverse = tf.rsqrt(tf.add(variance, floatOf(call, "epsilon", 1e-5)));
      const scaled = tf.mul(tf.mul(centered, inverse), scale!);
      return [bias === undefined ? scaled : tf.add(scaled, bias), mean, inverse];
    },
  },
  rootMeanSquare("SimplifiedLayerNormalization"),
  rootMeanSquare("RMSNormalization"),
  lpNormalization,
];
