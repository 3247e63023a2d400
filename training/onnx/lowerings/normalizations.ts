/** Normalizations that carry a sum, an embedding or groups of channels with them. */
import { sizeOf } from "../../../adapters/tensor.ts";
import { rmsNormalized } from "../forms/rms-norm.ts";
import { float, floatOf, int, intOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Call, Value } from "../program.ts";
import { refuse } from "../rules/rule.ts";
import type { Lowering } from "./lowering.ts";

const settings = (call: Call, absent: number) => ({
  axis: int(-1),
  epsilon: float(floatOf(call, "epsilon", absent)),
});

/** (x, skip, gamma, bias) -> norm(x + skip + bias), , , the sum itself */
export const skipSimplifiedLayerNormalization: Lowering = {
  op: "SkipSimplifiedLayerNormalization",
  domain: "com.microsoft",
  opset: [1, 1],
  lower(call, g) {
    const [x, skip, gamma, bias] = call.inputs;
    const added = g.add(x!, skip!);
    const sum = bias ? g.add(added, bias) : added;
    const normal = rmsNormalized(sum, gamma!, -1, floatOf(call, "epsilon", 1e-12), g);
    return [normal, undefined, undefined, sum];
  },
};

/** (x, skip, gamma, beta, bias) -> norm(x + skip + bias), , , the sum itself */
export const skipLayerNormalization: Lowering = {
  op: "SkipLayerNormalization",
  domain: "com.microsoft",
  opset: [1, 1],
  lower(call, g) {
    const [x, skip, gamma, beta, bias] = call.inputs;
    const added = g.add(x!, skip!);
    const sum = bias ? g.add(added, bias) : added;
    const normal = g.op("LayerNormalization", [sum, gamma, beta], settings(call, 1e-12));
    return [normal, undefined, undefined, sum];
  },
};

/** Word, position and segment embeddings, summed and normalized. */
export const embedLayerNormalization: Lowering = {
  op: "EmbedLayerNormalization",
  domain: "com.microsoft",
  opset: [1, 1],
  lower(call, g) {
    const [ids, segments, words, positionTable, segmentTable, gamma, beta, mask, positions] = call.inputs;
    const word = g.gather(words!, ids!, 0);
    const length = ids!.shape[1]!;
    const place = positions
      ? g.gather(positionTable!, positions, 0)
      : g.reshape(g.slice(positionTable!, 0, 0, length), [1, length, positionTable!.shape[1]!]);
    const both = g.add(word, place);
    const sum = segments && segmentTable ? g.add(both, g.gather(segmentTable, segments, 0)) : both;
    const normal = g.op("LayerNormalization", [sum, gamma, beta], settings(call, 1e-12));
    // The second result is the mask as attention wants it; the mask itself says the same.
    return [normal, mask, sum];
  },
};

/** x [N, C, ...] normalized over `axes` of the view [N, groups, C / groups * ...]. */
function normalized(x: Value, groups: number, epsilon: number, g: Maths): Value {
  const view = g.reshape(x, [x.shape[0]!, groups, sizeOf(x.shape) / (x.shape[0]! * groups)]);
  const centered = g.sub(view, g.reduceMean(view, [2]));
  const variance = g.reduceMean(g.mul(centered, centered), [2]);
  const deviation = g.op("Sqrt", [g.add(variance, g.scalar(epsilon, x))]);
  return g.reshape(g.div(centered, deviation), x.shape);
}

/** A value for each channel, shaped to broadcast over [N, C, ...]. */
function perChannel(value: Value, rank: number, g: Maths): Value {
  return g.reshape(value, [value.shape[0]!, ...new Array<number>(rank - 2).fill(1)]);
}

export const groupNormalization: Lowering = {
  op: "GroupNormalization",
  domain: "",
  opset: [18, 24],
  lower(call, g) {
    const [x, scale, bias] = call.inputs as [Value, Value, Value];
    const groups = intOf(call, "num_groups", 1);
    const channels = x.shape[1]!;
    // Up to opset 20 there is one scale a group; from 21 on one a channel.
    const spread = (value: Value): Value =>
      value.shape[0] === channels
        ? value
        : g.reshape(g.expand(g.reshape(value, [groups, 1]), [groups, channels / groups]), [channels]);
    const normal = normalized(x, groups, floatOf(call, "epsilon", 1e-5), g);
    const rank = x.shape.length;
    return [g.add(g.mul(normal, perChannel(spread(scale), rank, g)), perChannel(spread(bias), rank, g))];
  },
};

export const instanceNormalization: Lowering = {
  op: "InstanceNormalization",
  domain: "",
  opset: [6, 24],
  lower(call, g) {
    const [x, scale, bias] = call.inputs as [Value, Value, Value];
    const normal = normalized(x, x.shape[1]!, floatOf(call, "epsilon", 1e-5), g);
    const rank = x.shape.length;
    return [g.add(g.mul(normal, perChannel(scale, rank, g)), perChannel(bias, rank, g))];
  },
};

/** With the statistics that the file has; statistics of the batch are not kept. */
export const batchNormalization: Lowering = {
  op: "BatchNormalization",
  domain: "",
  opset: [9, 24],
  lower(call, g) {
    if (intOf(call, "training_mode", 0) === 1) refuse(call, "training_mode must be 0");
    const [x, scale, bias, mean, variance] = call.inputs as [Value, Value, Value, Value, Value];
    const rank = x.shape.length;
    const deviation = g.op("Sqrt", [g.add(variance, g.scalar(floatOf(call, "epsilon", 1e-5), x))]);
    const factor = g.div(scale, deviation);
    const centered = g.sub(x, perChannel(mean, rank, g));
    return [g.add(g.mul(centered, perChannel(factor, rank, g)), perChannel(bias, rank, g))];
  },
};
