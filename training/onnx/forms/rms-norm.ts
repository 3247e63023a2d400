/**
 * Root mean square normalization as the runtime's one kernel, whatever the exporter wrote it with.
 *
 *   x / sqrt(mean(x²) + epsilon), and times a scale where one follows
 *
 * The kernel (SimplifiedLayerNormalization) reads x once where the parts read it four times, and gives
 * inv = 1 / sqrt(...) as its second result, which the way back needs. Only the CPU's kernel is known to fill it.
 */
import { float, floatOf, int, intOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { weightFrom } from "../numbers.ts";
import { reducedAxes } from "../operators/reductions.ts";
import { axisOf, type Operation, type Value } from "../program.ts";
import { uniformValue } from "../simplify.ts";

const KERNEL = "SimplifiedLayerNormalization";

/** scale · x / rms(x) over the axes from `axis` on, with its inverse deviation where the device gives it. */
export function rmsNormalized(x: Value, scale: Value, axis: number, epsilon: number, g: Maths): Value {
  const attributes = { axis: int(axis), epsilon: float(epsilon) };
  const outputCount = g.builder.kernels === "all" ? 2 : 1;
  return g.builder.emit(KERNEL, [x, scale], attributes, { outputCount })[0]!;
}

/** a · b where one is x and the other its inverse root mean square, or one such a result and the other a scale. */
export function rmsProduct(a: Value, b: Value, g: Maths): Value | undefined {
  if (g.builder.kernels !== "all") return undefined;
  return normalizedBy(a, b, g) ?? normalizedBy(b, a, g) ?? scaled(a, b, g) ?? scaled(b, a, g);
}

/** x / deviation */
export function rmsQuotient(x: Value, deviation: Value, g: Maths): Value | undefined {
  if (g.builder.kernels !== "all") return undefined;
  const epsilon = deviationOf(x, deviation);
  return epsilon === undefined ? undefined : plain(x, epsilon, g);
}

function normalizedBy(x: Value, inverse: Value, g: Maths): Value | undefined {
  const from = inverse.from;
  const deviation =
    from?.op === "Reciprocal"
      ? from.inputs[0]!
      : from?.op === "Div" && uniformValue(from.inputs[0]) === 1
        ? from.inputs[1]!
        : undefined;
  const epsilon = deviation && deviationOf(x, deviation);
  return epsilon === undefined ? undefined : plain(x, epsilon, g);
}

function plain(x: Value, epsilon: number, g: Maths): Value {
  const shape = [x.shape.at(-1)!];
  const ones = weightFrom({ type: x.type, shape, data: new Float64Array(shape[0]!).fill(1) });
  return rmsNormalized(x, g.builder.constant(ones), -1, epsilon, g);
}

/** The epsilon of sqrt(mean(x²) + epsilon) along the last axis, where that is what `deviation` is. */
function deviationOf(x: Value, deviation: Value): number | undefined {
  if (x.type !== "F32" || x.shape.length < 2 || deviation.from?.op !== "Sqrt") return undefined;
  const sum = deviation.from.inputs[0]!.from;
  if (sum?.op !== "Add") return undefined;
  const at = sum.inputs.findIndex((input) => uniformValue(input) !== undefined);
  const mean = at < 0 ? undefined : sum.inputs[1 - at]!.from;
  if (mean?.op !== "ReduceMean" || intOf(mean, "keepdims", 1) === 0) return undefined;
  if (`${reducedAxes(mean)}` !== `${x.shape.length - 1}` || !isSquareOf(mean.inputs[0]!.from, x))
    return undefined;
  return uniformValue(sum.inputs[at]);
}

function isSquareOf(operation: Operation | undefined, x: Value): boolean {
  if (operation?.inputs[0] !== x) return false;
  if (operation.op === "Pow") return uniformValue(operation.inputs[1]) === 2;
  return operation.op === "Mul" && operation.inputs[1] === x;
}

/** A scale that follows a normalization without one becomes its own. */
function scaled(normal: Value, scale: Value, g: Maths): Value | undefined {
  const from = normal.from;
  if (from?.op !== KERNEL || from.domain !== "" || from.outputs[0] !== normal) return undefined;
  const [x, own] = from.inputs as [Value, Value];
  const rank = x.shape.length;
  if (uniformValue(own) !== 1 || `${scale.shape}` !== `${own.shape}` || scale.type !== own.type)
    return undefined;
  if (axisOf(intOf(from, "axis", -1), rank) !== rank - 1) return undefined;
  return rmsNormalized(x, scale, -1, floatOf(from, "epsilon", 1e-5), g);
}
