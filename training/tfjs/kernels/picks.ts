/** Operators that pick elements by index, and those that put them into place. */
import { sizeOf } from "../../../adapters/tensor.ts";
import { intOf, stringOf } from "../../onnx/graph.ts";
import { numbersOf } from "../../onnx/numbers.ts";
import { integers } from "../../onnx/operators/known.ts";
import { axisOf, type Operation, stridesOf } from "../../onnx/program.ts";
import { alongLast, type Kernel, type Tf, type TfTensor } from "./kernel.ts";

/** Indices below 0 count from the end; tfjs has none such. @param dims one length, or one for each last index */
function fromZero(tf: Tf, indices: TfTensor, dims: number | readonly number[]): TfTensor {
  const length = typeof dims === "number" ? dims : tf.tensor1d([...dims], "int32");
  return tf.where(tf.less(indices, 0), tf.add(indices, tf.cast(length, "int32")), indices);
}

/** Places in the flat data that elements with these indices along `axis` have, [n]. */
function flatPlaces(tf: Tf, shape: readonly number[], indices: TfTensor, axis: number): TfTensor {
  const strides = stridesOf(shape);
  const own = stridesOf(indices.shape);
  const rest = Int32Array.from({ length: indices.size }, (_, at) => {
    let place = 0;
    indices.shape.forEach((dim, i) => {
      if (i !== axis) place += (Math.floor(at / own[i]!) % dim) * strides[i]!;
    });
    return place;
  });
  const along = tf.mul(
    tf.reshape(fromZero(tf, indices, shape[axis]!), [-1]),
    tf.scalar(strides[axis]!, "int32"),
  );
  return tf.add(along, tf.tensor1d(rest, "int32"));
}

const reductionOf = (call: Operation): string => stringOf(call, "reduction", "none");

const refusesReduction = (call: Operation): string | undefined => {
  const reduction = reductionOf(call);
  return reduction === "none" || reduction === "add"
    ? undefined
    : `reduction must be "none" or "add", got "${reduction}"`;
};

/** @param places [n, depth] */
function put(tf: Tf, x: TfTensor, places: TfTensor, updates: TfTensor, call: Operation): TfTensor {
  if (reductionOf(call) === "none") {
    // Not tensorScatterUpdate: in plain JavaScript it loses what no update reaches.
    const reached = tf.scatterND(places, tf.onesLike(updates), x.shape);
    return tf.where(tf.greater(reached, 0), tf.scatterND(places, updates, x.shape), x);
  }
  const sum = tf.scatterND(places, updates, x.shape);
  const onto = call.inputs[0]!;
  const zero = onto.from?.op === "Expand" ? onto.from.inputs[0]!.weight : undefined;
  // Sums of gradients begin with zeros: nothing is added to them.
  return zero !== undefined && numbersOf(zero)?.data[0] === 0 ? sum : tf.add(x, sum);
}

const gather: Kernel = {
  op: "Gather",
  run(tf, [x, indices], call) {
    const axis = axisOf(intOf(call, "axis", 0), x!.rank);
    return tf.gather(x!, fromZero(tf, indices!, x!.shape[axis]!), axis);
  },
};

/** The indices of a batch, prepended: [b, ..., k] -> [b, ..., batch dims + k]. */
function withBatch(tf: Tf, indices: TfTensor, batch: number): TfTensor {
  if (batch === 0) return indices;
  const outer = indices.shape.slice(0, -1);
  const strides = stridesOf(outer);
  const places = Int32Array.from({ length: sizeOf(outer) * batch }, (_, at) => {
    const axis = at % batch;
    return Math.floor(Math.floor(at / batch) / strides[axis]!) % outer[axis]!;
  });
  return tf.concat([tf.tensor(places, [...outer, batch], "int32"), indices], outer.length);
}

const gatherNd: Kernel = {
  op: "GatherND",
  run(tf, [x, indices], call) {
    const batch = intOf(call, "batch_dims", 0);
    const depth = indices!.shape.at(-1)!;
    const places = fromZero(tf, indices!, x!.shape.slice(batch, batch + depth));
    return tf.gatherND(x!, withBatch(tf, places, batch));
  },
};

const oneHot: Kernel = {
  op: "OneHot",
  stated: [1],
  run(tf, [indices, , values], call) {
    const depth = integers(call, 1)[0]!;
    const rank = indices!.rank + 1;
    const axis = axisOf(intOf(call, "axis", -1), rank);
    const places = tf.expandDims(fromZero(tf, tf.cast(indices!, "int32"), depth), axis);
    const counted = tf.reshape(
      tf.range(0, depth, 1, "int32"),
      Array.from({ length: rank }, (_, i) => (i === axis ? depth : 1)),
    );
    const [off, on] = [tf.slice(values!, [0], [1]), tf.slice(values!, [1], [1])];
    const whole = [...call.outputs[0]!.shape];
    return tf.where(tf.equal(places, counted), tf.broadcastTo(on, whole), tf.broadcastTo(off, whole));
  },
};

/** The place of the largest or smallest along an axis, the first of equal ones. */
const argument = (op: "ArgMax" | "ArgMin"): Kernel => ({
  op,
  refuses: (call) =>
    intOf(call, "select_last_index", 0) === 0 ? undefined : "the last of equal ones is not looked for",
  run(tf, [x], call) {
    const axis = axisOf(intOf(call, "axis", 0), x!.rank);
    const found = op === "ArgMax" ? tf.argMax(x!, axis) : tf.argMin(x!, axis);
    return tf.reshape(found, [...call.outputs[0]!.shape]);
  },
});

/** The k largest in falling order, or the k smallest in rising order, and their places. */
const topK: Kernel = {
  op: "TopK",
  stated: [1],
  run(tf, [x], call) {
    const k = integers(call, 1)[0]!;
    const sign = intOf(call, "largest", 1) === 1 ? 1 : -1;
    const axis = intOf(call, "axis", -1);
    const signed = sign === 1 ? x! : tf.neg(x!);
    const values = alongLast(tf, signed, axis, (last) => tf.topk(last, k, true).values);
    const places = alongLast(tf, signed, axis, (last) => tf.topk(last, k, true).indices);
    return [sign === 1 ? values : tf.neg(values), places];
  },
};

export const PICKS: readonly Kernel[] = [
  gather,
  gatherNd,
  oneHot,
  argument("ArgMax"),
  argument("ArgMin"),
  topK,
  {
    op: "GatherElements",
    run(tf, [x, indices], call) {
      const axis = axisOf(intOf(call, "axis", 0), x!.rank);
      const places = flatPlaces(tf, x!.shape, indices!, axis);
      return tf.reshape(tf.gather(tf.reshape(x!, [-1]), places), indices!.shape);
    },
  },
  {
    op: "ScatterElements",
    refuses: refusesReduction,
    run(tf, [x, indices, updates], call) {
      const places = flatPlaces(tf, x!.shape, indices!, axisOf(intOf(call, "axis", 0), x!.rank));
      const flat = put(tf, tf.reshape(x!, [-1]), tf.expandDims(places, 1), tf.reshape(updates!, [-1]), call);
      return tf.reshape(flat, x!.shape);
    },
  },
  {
    op: "ScatterND",
    refuses: refusesReduction,
    run(tf, [x, indices, updates], call) {
      const depth = indices!.shape.at(-1)!;
      const places = tf.reshape(fromZero(tf, indices!, x!.shape.slice(0, depth)), [-1, depth]);
      const rows = tf.reshape(updates!, [places.shape[0]!, ...x!.shape.slice(depth)]);
      return put(tf, x!, places, rows, call);
    },
  },
  {
    op: "CumSum",
    stated: [1],
    run: (tf, [x], call) =>
      tf.cumsum(
        x!,
        axisOf(integers(call, 1)[0]!, x!.rank),
        intOf(call, "exclusive", 0) === 1,
        intOf(call, "reverse", 0) === 1,
      ),
  },
];
