/** Operators that move elements without computing with them. */
import { sizeOf } from "../../../adapters/tensor.ts";
import { intOf, intsOf } from "../graph.ts";
import { eachBroadcast } from "../numbers.ts";
import { axisOf, broadcastShape, type Call, type Numbers, stridesOf } from "../program.ts";
import { integers, integersOrNone, optionalIntegers } from "./known.ts";
import { need, type OperatorKind, oneLike } from "./operator.ts";

/** The elements of `x` at the places that `from` names, one for each element of the result. */
function rearranged(
  x: Numbers,
  shape: readonly number[],
  from: (target: readonly number[]) => number,
): Numbers {
  const data = new Float64Array(sizeOf(shape));
  const index = new Array<number>(shape.length).fill(0);
  for (let target = 0; target < data.length; target++) {
    data[target] = x.data[from(index)]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
  return { type: x.type, shape, data };
}

const dot = (index: readonly number[], strides: readonly number[]): number =>
  index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0);

const reshape: OperatorKind = {
  op: "Reshape",
  infer: (call) => {
    const x = need(call, 0);
    const wanted = integers(call, 1);
    const shape = wanted.map((dim, i) =>
      dim === 0 && intOf(call, "allowzero", 0) === 0 ? x.shape[i]! : dim,
    );
    const open = shape.indexOf(-1);
    if (open >= 0) {
      const rest = shape.reduce((product, dim, i) => (i === open ? product : product * dim), 1);
      shape[open] = rest === 0 ? 0 : sizeOf(x.shape) / rest;
    }
    if (sizeOf(shape) !== sizeOf(x.shape) || !shape.every(Number.isInteger))
      throw new TypeError(`[${x.shape.join(", ")}] cannot become [${wanted.join(", ")}]`);
    return oneLike(x.type, shape);
  },
  evaluate: (call, [x]) => [{ ...x!, shape: reshape.infer(call)[0]!.shape }],
};

export function permOf(call: Call): readonly number[] {
  const rank = need(call, 0).shape.length;
  return intsOf(call, "perm") ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
}

const transpose: OperatorKind = {
  op: "Transpose",
  infer: (call) => {
    const x = need(call, 0);
    return oneLike(
      x.type,
      permOf(call).map((axis) => x.shape[axis]!),
    );
  },
  evaluate: (call, [x]) => {
    const steps = stridesOf(x!.shape);
    const strides = permOf(call).map((axis) => steps[axis]!);
    return [rearranged(x!, transpose.infer(call)[0]!.shape, (index) => dot(index, strides))];
  },
};

const keepData = (kind: OperatorKind): OperatorKind => ({
  ...kind,
  evaluate: (call, [x]) => [{ ...x!, shape: kind.infer(call)[0]!.shape }],
});

const squeeze = keepData({
  op: "Squeeze",
  infer: (call) => {
    const x = need(call, 0);
    const axes = optionalIntegers(call, 1)?.map((axis) => axisOf(axis, x.shape.length));
    return oneLike(
      x.type,
      x.shape.filter((dim, i) => (axes === undefined ? dim !== 1 : !axes.includes(i))),
    );
  },
});

const unsqueeze = keepData({
  op: "Unsqueeze",
  infer: (call) => {
    const x = need(call, 0);
    const axes = integers(call, 1);
    const rank = x.shape.length + axes.length;
    const inserted = new Set(axes.map((axis) => axisOf(axis, rank)));
    const rest = [...x.shape];
    return oneLike(
      x.type,
      Array.from({ length: rank }, (_, i) => (inserted.has(i) ? 1 : rest.shift()!)),
    );
  },
});

const flatten = keepData({
  op: "Flatten",
  infer: (call) => {
    const x = need(call, 0);
    const axis = intOf(call, "axis", 1);
    const at = axis < 0 ? axis + x.shape.length : axis;
    return oneLike(x.type, [sizeOf(x.shape.slice(0, at)), sizeOf(x.shape.slice(at))]);
  },
});

const concat: OperatorKind = {
  op: "Concat",
  infer: (call) => {
    const inputs = call.inputs.map((_, i) => need(call, i));
    const axis = axisOf(intOf(call, "axis", 0), inputs[0]!.shape.length);
    const shape = [...inputs[0]!.shape];
    shape[axis] = inputs.reduce((sum, input) => sum + input.shape[axis]!, 0);
    return oneLike(inputs[0]!.type, shape);
  },
  evaluate: (call, inputs) => {
    const { type, shape } = concat.infer(call)[0]!;
    const axis = axisOf(intOf(call, "axis", 0), shape.length);
    const outer = sizeOf(shape.slice(0, axis));
    const data = new Float64Array(sizeOf(shape));
    let at = 0;
    for (let row = 0; row < outer; row++) {
      for (const input of inputs) {
        const run = input!.data.length / outer;
        data.set(input!.data.subarray(row * run, (row + 1) * run), at);
        at += run;
      }
    }
    return [{ type, shape, data }];
  },
};

/** Sizes of the pieces of a Split. */
export function splitSizes(call: Call): number[] {
  const x = need(call, 0);
  const dim = x.shape[axisOf(intOf(call, "axis", 0), x.shape.length)]!;
  const given = optionalIntegers(call, 1);
  if (given !== undefined) return [...given];
  const piece = Math.ceil(dim / call.outputCount);
  return Array.from({ length: call.outputCount }, (_, i) => Math.min(piece, dim - i * piece));
}

const split: OperatorKind = {
  op: "Split",
  infer: (call) => {
    const x = need(call, 0);
    const axis = axisOf(intOf(call, "axis", 0), x.shape.length);
    return splitSizes(call).map((size) => ({
      type: x.type,
      shape: x.shape.map((dim, i) => (i === axis ? size : dim)),
    }));
  },
  evaluate: (call, [x]) => {
    const axis = axisOf(intOf(call, "axis", 0), x!.shape.length);
    const steps = stridesOf(x!.shape);
    let start = 0;
    return split.infer(call).map(({ shape }) => {
      const from = start;
      start += shape[axis]!;
      return rearranged(x!, shape, (index) => dot(index, steps) + from * steps[axis]!);
    });
  },
};

/** Start, step and length along each axis of a Slice. */
export function sliceOf(call: Call): { start: number; step: number; length: number }[] {
  const x = need(call, 0);
  const starts = integers(call, 1);
  const ends = integers(call, 2);
  const axes = (optionalIntegers(call, 3) ?? starts.map((_, i) => i)).map((a) => axisOf(a, x.shape.length));
  const steps = optionalIntegers(call, 4) ?? starts.map(() => 1);
  return x.shape.map((dim, axis) => {
    const i = axes.indexOf(axis);
    if (i < 0) return { start: 0, step: 1, length: dim };
    const step = steps[i]!;
    const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v, low), high);
    const from0 = (v: number) => (v < 0 ? v + dim : v);
    const start = step > 0 ? clamp(from0(starts[i]!), 0, dim) : clamp(from0(starts[i]!), 0, dim - 1);
    const end = step > 0 ? clamp(from0(ends[i]!), 0, dim) : clamp(from0(ends[i]!), -1, dim - 1);
    return { start, step, length: Math.max(0, Math.ceil((end - start) / step)) };
  });
}

const slice: OperatorKind = {
  op: "Slice",
  infer: (call) =>
    oneLike(
      need(call, 0).type,
      sliceOf(call).map((axis) => axis.length),
    ),
  evaluate: (call, [x]) => {
    const axes = sliceOf(call);
    const steps = stridesOf(x!.shape);
    return [
      rearranged(
        x!,
        axes.map((axis) => axis.length),
        (index) => index.reduce((sum, i, a) => sum + (axes[a]!.start + i * axes[a]!.step) * steps[a]!, 0),
      ),
    ];
  },
};

const gather: OperatorKind = {
  op: "Gather",
  infer: (call) => {
    const [x, indices] = [need(call, 0), need(call, 1)];
    const axis = axisOf(intOf(call, "axis", 0), x.shape.length);
    return oneLike(x.type, [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)]);
  },
  evaluate: (call, [x, indices]) => {
    const axis = axisOf(intOf(call, "axis", 0), x!.shape.length);
    const steps = stridesOf(x!.shape);
    const indexSteps = stridesOf(indices!.shape);
    const rank = indices!.shape.length;
    return [
      rearranged(x!, gather.infer(call)[0]!.shape, (index) => {
        const picked = indices!.data[dot(index.slice(axis, axis + rank), indexSteps)]!;
        const at = picked < 0 ? picked + x!.shape[axis]! : picked;
        return dot([...index.slice(0, axis), at, ...index.slice(axis + rank)], steps);
      }),
    ];
  },
};

const gatherElements: OperatorKind = {
  op: "GatherElements",
  infer: (call) => oneLike(need(call, 0).type, need(call, 1).shape),
};

const gatherNd: OperatorKind = {
  op: "GatherND",
  infer: (call) => {
    const [x, indices] = [need(call, 0), need(call, 1)];
    const batch = intOf(call, "batch_dims", 0);
    const depth = indices.shape.at(-1)!;
    return oneLike(x.type, [...indices.shape.slice(0, -1), ...x.shape.slice(batch + depth)]);
  },
};

const sameAsFirst = (op: string): OperatorKind => ({
  op,
  infer: (call) => oneLike(need(call, 0).type, need(call, 0).shape),
});

const expand: OperatorKind = {
  op: "Expand",
  infer: (call) => oneLike(need(call, 0).type, broadcastShape(need(call, 0).shape, integers(call, 1))),
  evaluate: (call, [x]) => {
    const shape = expand.infer(call)[0]!.shape;
    const data = new Float64Array(sizeOf(shape));
    eachBroadcast([shape, x!.shape], (target, at) => {
      data[target] = x!.data[at[1]!]!;
    });
    return [{ type: x!.type, shape, data }];
  },
};

const tile: OperatorKind = {
  op: "Tile",
  infer: (call) => {
    const repeats = integers(call, 1);
    return oneLike(
      need(call, 0).type,
      need(call, 0).shape.map((dim, i) => dim * repeats[i]!),
    );
  },
  evaluate: (call, [x]) => {
    const steps = stridesOf(x!.shape);
    return [
      rearranged(x!, tile.infer(call)[0]!.shape, (index) =>
        index.reduce((sum, i, axis) => sum + (i % x!.shape[axis]!) * steps[axis]!, 0),
      ),
    ];
  },
};

/** Elements added before and after each axis of a Pad; negative where it cuts. */
export function padsOf(call: Call): { before: number; after: number }[] {
  const x = need(call, 0);
  const pads = integers(call, 1);
  const axes = (optionalIntegers(call, 3) ?? x.shape.map((_, i) => i)).map((a) => axisOf(a, x.shape.length));
  return x.shape.map((_, axis) => {
    const i = axes.indexOf(axis);
    return i < 0 ? { before: 0, after: 0 } : { before: pads[i]!, after: pads[i + axes.length]! };
  });
}

const pad: OperatorKind = {
  op: "Pad",
  infer: (call) => {
    const pads = padsOf(call);
    return oneLike(
      need(call, 0).type,
      need(call, 0).shape.map((dim, i) => dim + pads[i]!.before + pads[i]!.after),
    );
  },
};

const trilu: OperatorKind = {
  op: "Trilu",
  infer: (call) => oneLike(need(call, 0).type, need(call, 0).shape),
  evaluate: (call, [x, diagonal]) => {
    const [rows, columns] = x!.shape.slice(-2) as [number, number];
    const k = diagonal?.data[0] ?? 0;
    const upper = intOf(call, "upper", 1) === 1;
    const data = x!.data.map((v, at) => {
      const row = Math.floor(at / columns) % rows;
      const past = (at % columns) - row - k;
      return (upper ? past >= 0 : past <= 0) ? v : 0;
    });
    return [{ ...x!, data }];
  },
};

const depthToSpace = (op: string): OperatorKind => ({
  op,
  infer: (call) => {
    const [n, c, h, w] = need(call, 0).shape as [number, number, number, number];
    const b = intOf(call, "blocksize", 1);
    const shape = op === "DepthToSpace" ? [n, c / (b * b), h * b, w * b] : [n, c * b * b, h / b, w / b];
    return oneLike(need(call, 0).type, shape);
  },
});

/** The size of the result of a Resize, from its sizes or scales. */
const resize: OperatorKind = {
  op: "Resize",
  infer: (call) => {
    const x = need(call, 0);
    const axes = intsOf(call, "axes")?.map((axis) => axisOf(axis, x.shape.length)) ?? [...x.shape.keys()];
    const sizes = integersOrNone(call, 3);
    const scales = sizes === undefined ? integers(call, 2) : undefined;
    return oneLike(
      x.type,
      x.shape.map((dim, axis) => {
        const i = axes.indexOf(axis);
        if (i < 0) return dim;
        return sizes?.[i] ?? Math.floor(dim * scales![i]!);
      }),
    );
  },
};

export const LAYOUT: readonly OperatorKind[] = [
  reshape,
  transpose,
  squeeze,
  unsqueeze,
  flatten,
  concat,
  split,
  slice,
  gather,
  gatherElements,
  gatherNd,
  sameAsFirst("ScatterND"),
  sameAsFirst("ScatterElements"),
  sameAsFirst("CumSum"),
  expand,
  tile,
  pad,
  trilu,
  depthToSpace("DepthToSpace"),
  depthToSpace("SpaceToDepth"),
  resize,
];
