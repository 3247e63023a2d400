/**
 * Resize along each axis as a product with a constant matrix [out, in]: nearest, linear or cubic.
 *
 * With antialias the kernel is as much wider as the picture becomes smaller. Outside stands the border's value, or
 * nothing where exclude_outside says so.
 *
 * Source: https://onnx.ai/onnx/operators/onnx__Resize.html
 */
import { floatOf, intOf, intsOf, stringOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { weightFrom } from "../numbers.ts";
import { integersOrNone } from "../operators/known.ts";
import { LAYOUT } from "../operators/layout.ts";
import { axisOf, type Call, type Value } from "../program.ts";
import { refuse } from "../rules/rule.ts";
import type { Lowering } from "./lowering.ts";

const inferResize = LAYOUT.find(({ op }) => op === "Resize")!.infer;

export const resize: Lowering = {
  op: "Resize",
  domain: "",
  opset: [11, 24],
  lower(call, g) {
    const mode = stringOf(call, "mode", "nearest");
    if (mode !== "linear" && mode !== "nearest" && mode !== "cubic")
      refuse(call, `mode must be "nearest", "linear" or "cubic", got "${mode}"`);
    const policy = stringOf(call, "keep_aspect_ratio_policy", "stretch");
    if (policy !== "stretch") refuse(call, `keep_aspect_ratio_policy must be "stretch", got "${policy}"`);
    const { shape } = inferResize(call)[0]!;
    const scales = integersOrNone(call, 2);
    const x = call.inputs[0]!;
    const axes = intsOf(call, "axes")?.map((axis) => axisOf(axis, x.shape.length)) ?? [...x.shape.keys()];
    return [
      shape.reduce((value: Value, size, axis) => {
        const from = x.shape[axis]!;
        if (from === size) return value;
        const scale = scales?.[axes.indexOf(axis)] ?? size / from;
        return alongAxis(value, axis, matrix(call, mode, from, size, scale), g);
      }, x),
    ];
  },
};

function alongAxis(x: Value, axis: number, rows: Float64Array[], g: Maths): Value {
  const last = x.shape.length - 1;
  const swap = x.shape.map((_, i) => (i === axis ? last : i === last ? axis : i));
  const [from, to] = [rows[0]!.length, rows.length];
  const turned = new Float64Array(from * to);
  rows.forEach((row, o) => {
    row.forEach((weight, i) => {
      turned[i * to + o] = weight;
    });
  });
  const weights = g.builder.constant(weightFrom({ type: x.type, shape: [from, to], data: turned }));
  return g.transpose(g.matMul(g.transpose(x, swap), weights), swap);
}

type Mode = "nearest" | "linear" | "cubic";

/** Row o holds how much of each input element the output element o takes. */
function matrix(call: Call, mode: Mode, from: number, to: number, scale: number): Float64Array[] {
  const clamp = (i: number): number => Math.min(Math.max(i, 0), from - 1);
  return Array.from({ length: to }, (_, o) => {
    const row = new Float64Array(from);
    const at = sourceOf(call, o, from, to, scale);
    if (mode === "nearest") {
      row[clamp(rounded(call, at))] = 1;
      return row;
    }
    const antialias = intOf(call, "antialias", 0) === 1;
    const width = antialias ? Math.max(1, 1 / scale) : 1;
    const excludes = intOf(call, "exclude_outside", 0) === 1;
    const kernel = mode === "cubic" ? cubic(floatOf(call, "cubic_coeff_a", -0.75)) : hat;
    const reach = (mode === "cubic" ? 2 : 1) * width;
    let total = 0;
    for (let i = Math.ceil(at - reach); i <= at + reach; i++) {
      if (excludes && i !== clamp(i)) continue;
      const weight = kernel(Math.abs(i - at) / width);
      row[clamp(i)]! += weight;
      total += weight;
    }
    return row.map((weight) => weight / total);
  });
}

/** The linear kernel at distance t. */
const hat = (t: number): number => Math.max(0, 1 - t);

/** Keys' cubic kernel at distance t. */
const cubic =
  (a: number) =>
  (t: number): number => {
    if (t <= 1) return (a + 2) * t ** 3 - (a + 3) * t ** 2 + 1;
    return t < 2 ? a * t ** 3 - 5 * a * t ** 2 + 8 * a * t - 4 * a : 0;
  };

function sourceOf(call: Call, o: number, from: number, to: number, scale: number): number {
  const mode = stringOf(call, "coordinate_transformation_mode", "half_pixel");
  switch (mode) {
    case "half_pixel":
      return (o + 0.5) / scale - 0.5;
    case "pytorch_half_pixel":
      return to > 1 ? (o + 0.5) / scale - 0.5 : 0;
    case "align_corners":
      return to > 1 ? (o * (from - 1)) / (to - 1) : 0;
    case "asymmetric":
      return o / scale;
    default:
      return refuse(call, `coordinate_transformation_mode "${mode}" is not read`);
  }
}

function rounded(call: Call, at: number): number {
  const mode = stringOf(call, "nearest_mode", "round_prefer_floor");
  switch (mode) {
    case "round_prefer_floor":
      return Math.ceil(at - 0.5);
    case "round_prefer_ceil":
      return Math.floor(at + 0.5);
    case "floor":
      return Math.floor(at);
    case "ceil":
      return Math.ceil(at);
    default:
      return refuse(call, `nearest_mode "${mode}" is not read`);
  }
}
