/**
 * Resize along each axis as a product with a constant matrix [out, in], linear or nearest.
 *
 * Source: https://onnx.ai/onnx/operators/onnx__Resize.html
 */
import { intOf, stringOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { weightFrom } from "../numbers.ts";
import { integersOrNone } from "../operators/known.ts";
import { LAYOUT } from "../operators/layout.ts";
import type { Call, Value } from "../program.ts";
import { refuse } from "../rules/rule.ts";
import type { Lowering } from "./lowering.ts";

const inferResize = LAYOUT.find(({ op }) => op === "Resize")!.infer;

export const resize: Lowering = {
  op: "Resize",
  domain: "",
  lower(call, g) {
    const mode = stringOf(call, "mode", "nearest");
    if (mode !== "linear" && mode !== "nearest")
      refuse(call, `mode must be "linear" or "nearest", got "${mode}"`);
    if (intOf(call, "antialias", 0) === 1) refuse(call, "antialias must be 0");
    const { shape } = inferResize(call)[0]!;
    const scales = integersOrNone(call, 2);
    const x = call.inputs[0]!;
    return [
      shape.reduce((value: Value, size, axis) => {
        const from = x.shape[axis]!;
        if (from === size) return value;
        const scale = scales?.[axis] ?? size / from;
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

/** Row o holds how much of each input element the output element o takes. */
function matrix(
  call: Call,
  mode: "linear" | "nearest",
  from: number,
  to: number,
  scale: number,
): Float64Array[] {
  return Array.from({ length: to }, (_, o) => {
    const row = new Float64Array(from);
    const clamp = (i: number): number => Math.min(Math.max(i, 0), from - 1);
    const at = sourceOf(call, o, from, to, scale);
    if (mode === "nearest") {
      row[clamp(rounded(call, at))] = 1;
    } else {
      const low = Math.floor(clamp(at));
      const share = clamp(at) - low;
      row[low]! += 1 - share;
      row[clamp(low + 1)]! += share;
    }
    return row;
  });
}

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
