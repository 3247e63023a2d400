/**
 * Rotary positions as the runtime's one kernel (com.microsoft.RotaryEmbedding), whatever the graph says them with:
 *
 *   x cos + (-x2, x1) sin,  x1 and x2 the halves of a head, cos and sin equal in both halves
 *
 * One pass over x instead of about six, and the way back is the same kernel with -sin. Only the CPU's kernel is
 * held against central differences here, so other devices get the parts.
 */
import { sizeOf } from "../../../adapters/tensor.ts";
import { int, intOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { numbersOf } from "../numbers.ts";
import { permOf, sliceOf } from "../operators/layout.ts";
import { axisOf, type Operation, type Value } from "../program.ts";

export const ROTARY = "RotaryEmbedding";
const DOMAIN = "com.microsoft";

export interface RotaryTables {
  /** [B or 1, S, half] */
  readonly cos: Value;
  readonly sin: Value;
}

/** x [B, H, S, 2 half] turned, or undefined where the kernel does not take it. */
export function rotatedByKernel(
  x: Value,
  { cos, sin }: RotaryTables,
  interleaved: boolean,
  g: Maths,
): Value | undefined {
  const [batch, , length, size] = x.shape as [number, number, number, number];
  const [own, positions, half] = cos.shape as [number, number, number];
  const fits = size === 2 * half && positions === length && (own === 1 || own === batch);
  // The kernel asks for a multiple of 8 where heads are apart.
  if (g.builder.kernels !== "all" || x.type !== "F32" || cos.type !== "F32" || !fits || size % 8 !== 0)
    return undefined;
  const rows = (table: Value): Value => g.reshape(table, [own * length, half]);
  const at = Array.from({ length: batch * length }, (_, i) => (own === 1 ? i % length : i));
  const ids = g.reshape(g.builder.integers(at), [batch, length]);
  const attributes = { interleaved: int(interleaved ? 1 : 0) };
  return g.op(ROTARY, [x, ids, rows(cos), rows(sin)], attributes, DOMAIN);
}

const isKernel = (operation: Operation | undefined): operation is Operation =>
  operation?.op === ROTARY && operation.domain === DOMAIN;

/** c x where x was turned, with c in the tables, which all layers share: no pass over x. */
export function scaledRotation(x: Value, scale: number, g: Maths): Value | undefined {
  const from = x.from;
  if (from?.op === "Reshape" || from?.op === "Transpose") {
    const inner = scaledRotation(from.inputs[0]!, scale, g);
    return inner && g.op(from.op, [inner, ...from.inputs.slice(1)], from.attributes);
  }
  if (!isKernel(from)) return undefined;
  const [turned, ids, cos, sin] = from.inputs as [Value, Value, Value, Value];
  return g.op(ROTARY, [turned, ids, g.mul(cos, scale), g.mul(sin, scale)], from.attributes, DOMAIN);
}

/** a + b where they are x cos and (-x2, x1) sin, in either order. */
export function rotatedSum(a: Value, b: Value, g: Maths): Value | undefined {
  return sumOf(a, b, g) ?? sumOf(b, a, g);
}

function sumOf(straight: Value, crossed: Value, g: Maths): Value | undefined {
  if (straight.from?.op !== "Mul" || crossed.from?.op !== "Mul" || straight.shape.length !== 4)
    return undefined;
  for (const side of [0, 1]) {
    const x = crossed.from.inputs[side]! && turnedHalf(crossed.from.inputs[side]!);
    if (x === undefined) continue;
    const at = straight.from.inputs.indexOf(x);
    if (at < 0) continue;
    const [cos, sin] = [straight.from.inputs[1 - at]!, crossed.from.inputs[1 - side]!];
    return joined(x, cos, sin, g);
  }
  return undefined;
}

/** The x of (-x2, x1). */
function turnedHalf(value: Value): Value | undefined {
  const from = value.from;
  const rank = value.shape.length;
  if (from?.op !== "Concat" || from.inputs.length !== 2 || axisOf(intOf(from, "axis", 0), rank) !== rank - 1)
    return undefined;
  const [negative, second] = from.inputs as [Value, Value];
  const half = value.shape.at(-1)! / 2;
  const first = negative.from?.op === "Neg" ? partOf(negative.from.inputs[0]!) : undefined;
  const other = partOf(second);
  const isTurned = first?.from === half && other?.from === 0 && first.x === other.x;
  return isTurned && `${first.x.shape}` === `${value.shape}` && second.shape.at(-1) === half
    ? first.x
    : undefined;
}

/** What a value is cut from along the last axis, and where it begins there. */
function partOf(value: Value): { readonly x: Value; readonly from: number } | undefined {
  const from = value.from;
  const x = from?.inputs[0];
  if (from === undefined || x === undefined) return undefined;
  const last = x.shape.length - 1;
  if (from.op === "Slice") {
    const axes = sliceOf(from);
    const whole = axes.every(
      ({ length, step }, axis) => step === 1 && (axis === last || length === x.shape[axis]),
    );
    return whole ? { x, from: axes[last]!.start } : undefined;
  }
  if (from.op !== "Split" || axisOf(intOf(from, "axis", 0), last + 1) !== last) return undefined;
  const before = from.outputs.slice(0, from.outputs.indexOf(value));
  return { x, from: before.reduce((sum, { shape }) => sum + shape[last]!, 0) };
}

function joined(x: Value, cos: Value, sin: Value, g: Maths): Value | undefined {
  const tables = [cos, sin].map((table) => tableOf(table, x, g));
  if (tables[0] === undefined || tables[1] === undefined) return undefined;
  return rotatedByKernel(x, { cos: tables[0], sin: tables[1] }, false, g);
}

/** The first half of a table that is the same for all heads and in both halves, [B or 1, S, half]. */
function tableOf(table: Value, x: Value, g: Maths): Value | undefined {
  const shape = [...new Array<number>(4 - table.shape.length).fill(1), ...table.shape];
  const [batch, heads, length, size] = shape as [number, number, number, number];
  if (heads !== 1 || size !== x.shape[3] || !halvesEqual(table)) return undefined;
  return g.slice(g.reshape(table, [batch, length, size]), 2, 0, size / 2);
}

const UNARY = new Set("Cos Sin Cast Neg Identity".split(" "));
const BINARY = new Set("Mul Add Sub Div".split(" "));

/** Whether the second half of the last axis repeats the first, by how the value was made. */
function halvesEqual(value: Value): boolean {
  const size = value.shape.at(-1) ?? 1;
  if (size === 1) return true;
  if (size % 2 !== 0) return false;
  if (value.weight !== undefined) {
    const data = numbersOf(value.weight)?.data;
    return data?.every((v, i) => i % size < size / 2 || v === data[i - size / 2]) ?? false;
  }
  const from = value.from;
  if (from === undefined) return false;
  const x = from.inputs[0]!;
  if (UNARY.has(from.op)) return halvesEqual(x);
  if (BINARY.has(from.op)) return from.inputs.every((input) => halvesEqual(input!));
  if (from.op === "Concat" && axisOf(intOf(from, "axis", 0), value.shape.length) === value.shape.length - 1)
    return from.inputs.length === 2 && from.inputs[0] === from.inputs[1];
  if (from.op === "Gather")
    return axisOf(intOf(from, "axis", 0), x.shape.length) < x.shape.length - 1 && halvesEqual(x);
  if (from.op === "Transpose") return permOf(from).at(-1) === x.shape.length - 1 && halvesEqual(x);
  if (from.op === "Reshape" || from.op === "Expand")
    return x.shape.at(-1) === size && sizeOf(x.shape) > 0 && halvesEqual(x);
  return false;
}
