/** Matrix products, convolutions, pools and what else reads a picture by places. */
import { intOf, intsOf, stringOf } from "../graph.ts";
import { axisOf, broadcastShape, type Call } from "../program.ts";
import { need, type OperatorKind, oneLike } from "./operator.ts";

function product(a: readonly number[], b: readonly number[]): readonly number[] {
  const left = a.length === 1 ? [1, a[0]!] : a;
  const right = b.length === 1 ? [b[0]!, 1] : b;
  if (left.at(-1) !== right.at(-2))
    throw new TypeError(`[${a.join(", ")}] and [${b.join(", ")}] cannot be multiplied`);
  const batch = broadcastShape(left.slice(0, -2), right.slice(0, -2));
  const rows = a.length === 1 ? [] : [left.at(-2)!];
  const columns = b.length === 1 ? [] : [right.at(-1)!];
  return [...batch, ...rows, ...columns];
}

const matMul: OperatorKind = {
  op: "MatMul",
  infer: (call) => oneLike(need(call, 0).type, product(need(call, 0).shape, need(call, 1).shape)),
};

const gemm: OperatorKind = {
  op: "Gemm",
  infer: (call) => {
    const turned = (index: number, attribute: string) => {
      const shape = need(call, index).shape;
      return intOf(call, attribute, 0) === 1 ? [...shape].reverse() : shape;
    };
    return oneLike(need(call, 0).type, product(turned(0, "transA"), turned(1, "transB")));
  },
};

const matMulNBits: OperatorKind = {
  op: "MatMulNBits",
  domain: "com.microsoft",
  infer: (call) => oneLike(need(call, 0).type, [...need(call, 0).shape.slice(0, -1), intOf(call, "N", 0)]),
};

/** The runtime had it with types and blocks in its own domain before the standard did. */
const dequantize = (domain: string): OperatorKind => ({
  op: "DequantizeLinear",
  domain,
  infer: (call) => oneLike(need(call, 1).type, need(call, 0).shape),
});

const matMulBnb4: OperatorKind = {
  op: "MatMulBnb4",
  domain: "com.microsoft",
  infer: (call) => {
    const width = intOf(call, intOf(call, "transB", 1) === 1 ? "N" : "K", 0);
    return oneLike(need(call, 0).type, [...need(call, 0).shape.slice(0, -1), width]);
  },
};

/** Rows of a table of a few bits; bytes that hold several elements hold them along the last axis. */
const gatherBlockQuantized: OperatorKind = {
  op: "GatherBlockQuantized",
  domain: "com.microsoft",
  infer: (call) => {
    const [table, indices, scales] = [need(call, 0), need(call, 1), need(call, 2)];
    const packed = table.type === "U8" ? 8 / intOf(call, "bits", 4) : 1;
    const last = table.shape.length - 1;
    const shape = table.shape.map((dim, axis) => (axis === last ? dim * packed : dim));
    const axis = axisOf(intOf(call, "gather_axis", 0), shape.length);
    return oneLike(scales.type, [...shape.slice(0, axis), ...indices.shape, ...shape.slice(axis + 1)]);
  },
};

/** Stand for the axes of an ellipsis, the last axis first. */
const ELLIPSIS_LETTERS = "ZYXWVUTSRQ";

/**
 * The terms of an Einsum: one string of letters an operand, and the result's. An ellipsis is written out; a result that is
 * not stated has the ellipsis and then, in order, the letters that occur once.
 */
export function einsumTerms(call: Call): { terms: string[]; result: string } {
  const [left, right] = stringOf(call, "equation", "").replaceAll(" ", "").split("->") as [string, string?];
  const stated = left.split(",");
  const hidden = stated.map((term, i) => {
    if (!term.includes("...")) return 0;
    return need(call, i).shape.length - term.replace("...", "").length;
  });
  if ([...ELLIPSIS_LETTERS].some((letter) => left.includes(letter)) && Math.max(...hidden) > 0)
    throw new TypeError(`an equation with an ellipsis must not have letters from Q to Z, got "${left}"`);
  const written = (term: string, axes: number): string =>
    term.replace("...", [...ELLIPSIS_LETTERS.slice(0, axes)].reverse().join(""));
  const letters = [...new Set(left.replaceAll(/[.,]/g, ""))].sort();
  const once = letters.filter((letter) => left.split(letter).length === 2).join("");
  const ellipsis = left.includes("...") ? "..." : "";
  return {
    terms: stated.map((term, i) => written(term, hidden[i]!)),
    result: written(right ?? ellipsis + once, Math.max(...hidden)),
  };
}

const einsum: OperatorKind = {
  op: "Einsum",
  infer: (call) => {
    const { terms, result } = einsumTerms(call);
    const dims = new Map<string, number>();
    terms.forEach((term, i) => {
      [...term].forEach((letter, axis) => {
        dims.set(letter, Math.max(dims.get(letter) ?? 1, need(call, i).shape[axis]!));
      });
    });
    return oneLike(
      need(call, 0).type,
      [...result].map((letter) => dims.get(letter)!),
    );
  },
};

export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Elements added before and after each spatial axis. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Kernel, strides and padding of a convolution or a pool over `spatial` axes. */
export function windowOf(call: Call, spatial: readonly number[], kernel: readonly number[]): Window {
  const ones = kernel.map(() => 1);
  const strides = intsOf(call, "strides") ?? ones;
  const dilations = intsOf(call, "dilations") ?? ones;
  const auto = stringOf(call, "auto_pad", "NOTSET");
  const pads = intsOf(call, "pads") ?? kernel.flatMap(() => [0, 0]);
  const total = kernel.map((size, i) => {
    const out = Math.ceil(spatial[i]! / strides[i]!);
    return Math.max(0, (out - 1) * strides[i]! + (size - 1) * dilations[i]! + 1 - spatial[i]!);
  });
  const half = (up: boolean) => total.map((t) => (up ? Math.ceil(t / 2) : Math.floor(t / 2)));
  if (auto === "SAME_UPPER") return { kernel, strides, dilations, before: half(false), after: half(true) };
  if (auto === "SAME_LOWER") return { kernel, strides, dilations, before: half(true), after: half(false) };
  const rank = kernel.length;
  return { kernel, strides, dilations, before: pads.slice(0, rank), after: pads.slice(rank) };
}

export function windowCount(window: Window, spatial: readonly number[], ceil = false): number[] {
  return spatial.map((dim, i) => {
    const span =
      dim + window.before[i]! + window.after[i]! - (window.kernel[i]! - 1) * window.dilations[i]! - 1;
    const steps = span / window.strides[i]!;
    return (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
  });
}

const conv: OperatorKind = {
  op: "Conv",
  infer: (call) => {
    const [x, w] = [need(call, 0), need(call, 1)];
    const spatial = x.shape.slice(2);
    const window = windowOf(call, spatial, w.shape.slice(2));
    return oneLike(x.type, [x.shape[0]!, w.shape[0]!, ...windowCount(window, spatial)]);
  },
};

const convTranspose: OperatorKind = {
  op: "ConvTranspose",
  infer: (call) => {
    const [x, w] = [need(call, 0), need(call, 1)];
    const kernel = w.shape.slice(2);
    const window = windowOf(call, x.shape.slice(2), kernel);
    const extra = intsOf(call, "output_padding") ?? kernel.map(() => 0);
    const spatial = kernel.map((size, i) => {
      const reach = (size - 1) * window.dilations[i]! + 1;
      const span = (x.shape[i + 2]! - 1) * window.strides[i]! + reach;
      return span - window.before[i]! - window.after[i]! + extra[i]!;
    });
    return oneLike(x.type, [x.shape[0]!, w.shape[1]! * intOf(call, "group", 1), ...spatial]);
  },
};

/** A grid [N, ..., spatial axes] of places in a picture [N, C, ...]. */
const gridSample: OperatorKind = {
  op: "GridSample",
  infer: (call) => {
    const [x, grid] = [need(call, 0), need(call, 1)];
    return oneLike(x.type, [...x.shape.slice(0, 2), ...grid.shape.slice(1, -1)]);
  },
};

const pool = (op: string): OperatorKind => ({
  op,
  infer: (call) => {
    const x = need(call, 0);
    const spatial = x.shape.slice(2);
    const window = windowOf(call, spatial, intsOf(call, "kernel_shape") ?? spatial);
    const counts = windowCount(window, spatial, intOf(call, "ceil_mode", 0) === 1);
    const shape = [...x.shape.slice(0, 2), ...counts];
    // The second result of MaxPool: which elements were taken.
    return [
      { type: x.type, shape },
      { type: "I64" as const, shape },
    ].slice(0, call.outputCount);
  },
});

const globalPool = (op: string): OperatorKind => ({
  op,
  infer: (call) =>
    oneLike(
      need(call, 0).type,
      need(call, 0).shape.map((dim, i) => (i < 2 ? dim : 1)),
    ),
});

export const PRODUCTS: readonly OperatorKind[] = [
  matMul,
  gemm,
  matMulNBits,
  matMulBnb4,
  gatherBlockQuantized,
  dequantize(""),
  dequantize("com.microsoft"),
  einsum,
  conv,
  convTranspose,
  gridSample,
  pool("AveragePool"),
  pool("MaxPool"),
  globalPool("GlobalAveragePool"),
];
