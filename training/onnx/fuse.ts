/** Forms of the forward part that are cheaper than what exporters write, taken while nodes are placed. */
import { sizeOf } from "../../adapters/tensor.ts";
import { blockedAttention } from "./forms/attention.ts";
import { rmsNormalized, rmsProduct, rmsQuotient } from "./forms/rms-norm.ts";
import { rotatedSum, scaledRotation } from "./forms/rotary.ts";
import { float, floatOf, intOf } from "./graph.ts";
import type { Maths } from "./maths.ts";
import { permOf } from "./operators/layout.ts";
import type { Call, Value } from "./program.ts";
import { type Multiple, multipleOf, timesNumber, uniformValue } from "./simplify.ts";

/** The result of a node in a cheaper form, or undefined where there is none. */
export function fused(call: Call, g: Maths): Value | undefined {
  if (call.domain !== "") return undefined;
  if (call.op === "MatMul") {
    const [a, b] = scaledOnLeft(call.inputs as [Value, Value], g);
    return blockedAttention(a, unrepeated(b) ?? b, g) ?? groupedProduct(a, b, g) ?? g.matMul(a, b);
  }
  if (call.op === "Add") return rotatedSum(call.inputs[0]!, call.inputs[1]!, g);
  if (call.op === "Mul") {
    const [a, b] = call.inputs as [Value, Value];
    return swish(a, b, g) ?? rmsProduct(a, b, g) ?? scaled(timesNumber(a, b), g);
  }
  if (call.op === "Div") {
    const [a, b] = call.inputs as [Value, Value];
    const divisor = uniformValue(b);
    return rmsQuotient(a, b, g) ?? scaledProduct(a, divisor && 1 / divisor, g);
  }
  if (call.op === "Gather") return fromTransposed(call, g);
  if (call.op === "SimplifiedLayerNormalization" && call.outputCount === 1) {
    const [x, scale] = call.inputs as [Value, Value];
    return rmsNormalized(x, scale, intOf(call, "axis", -1), floatOf(call, "epsilon", 1e-5), g);
  }
  return undefined;
}

/** x sigmoid(x): one kernel forward, and the sigmoid is not kept for the way back. */
function swish(a: Value, b: Value, g: Maths): Value | undefined {
  const sigmoidOf = (value: Value): Value | undefined =>
    value.from?.op === "Sigmoid" ? value.from.inputs[0] : undefined;
  const x = sigmoidOf(b) === a ? a : sigmoidOf(a) === b ? b : undefined;
  return x && g.op("QuickGelu", [x], { alpha: float(1) }, "com.microsoft");
}

/**
 * a·(c b) as (c a)·b, of stacks of heads: exporters scale queries and keys by the root each. What turns queries to their
 * positions takes the whole scale, and keys stay as they were, repeated or turned.
 */
function scaledOnLeft([a, b]: readonly [Value, Value], g: Maths): readonly [Value, Value] {
  const keys = b.from && multipleOf(b.from);
  if (keys === undefined || a.weight || a.shape.length !== 4 || b.shape.length !== 4) return [a, b];
  const queries = a.from && multipleOf(a.from);
  if (queries !== undefined) return [g.mul(queries.x, queries.factor * keys.factor), keys.x];
  return [scaledRotation(a, keys.factor, g) ?? g.mul(a, keys.factor), keys.x];
}

/** c (a·b) as (c a)·b where a is smaller than the product: scores are scaled on the queries' side. */
function scaledProduct(product: Value, scale: number | undefined, g: Maths): Value | undefined {
  if (scale === undefined || scale === 1) return undefined;
  const reshape = product.from?.op === "Reshape" ? product.from : undefined;
  const matMul = (reshape?.inputs[0] ?? product).from;
  if (matMul?.op !== "MatMul" || matMul.inputs.some((input) => input!.weight !== undefined)) return undefined;
  const [a, b] = matMul.inputs as [Value, Value];
  if (sizeOf(a.shape) >= sizeOf(matMul.outputs[0]!.shape)) return undefined;
  return g.reshape(g.matMul(scaledRotation(a, scale, g) ?? g.mul(a, scale), b), product.shape);
}

/** c x where x was turned to its position or is a product. */
function scaled(multiple: Multiple | undefined, g: Maths): Value | undefined {
  if (multiple === undefined) return undefined;
  const { x, factor } = multiple;
  const turned = x.shape.length < 4 ? undefined : scaledRotation(x, factor, g);
  return turned ?? scaledProduct(x, factor, g);
}

/**
 * A product with keys or values that were repeated for a group of heads: the group's rows are stacked instead,
 * so that nothing is repeated, and the gradient is summed over the group by the product itself.
 */
function groupedProduct(a: Value, b: Value, g: Maths): Value | undefined {
  const turned = b.from?.op === "Transpose" && `${permOf(b.from)}` === "0,1,3,2";
  const repeated = turned ? b.from!.inputs[0]! : b;
  const source = unrepeated(repeated);
  if (source === undefined || a.shape.length !== 4) return undefined;
  const [batch, keyHeads] = source.shape as [number, number];
  const [, heads, length, size] = a.shape as [number, number, number, number];
  const rows = g.reshape(a, [batch, keyHeads, (heads / keyHeads) * length, size]);
  const product = g.matMul(rows, turned ? g.transposeLast(source) : source);
  return g.reshape(product, [batch, heads, length, product.shape[3]!]);
}

/** [B, K, T, D] behind its repetition [B, K, 1, T, D] -> [B, K, G, T, D] -> [B, K G, T, D]. */
function unrepeated(value: Value): Value | undefined {
  const expand = value.from?.op === "Reshape" ? value.from.inputs[0]!.from : undefined;
  if (expand?.op !== "Expand") return undefined;
  const [from, to] = [expand.inputs[0]!.shape, expand.outputs[0]!.shape];
  if (to.length !== 5 || from.length !== 5 || from[2] !== 1) return undefined;
  if (![0, 1, 3, 4].every((axis) => from[axis] === to[axis])) return undefined;
  const [b, k, group, t, d] = to as [number, number, number, number, number];
  if (`${value.shape}` !== `${[b, k * group, t, d]}`) return undefined;
  // Unsqueeze and Reshape are one to the builder: what went in is what the Reshape behind the Expand read.
  const before = expand.inputs[0]!.from;
  const source = before?.op === "Reshape" ? before.inputs[0]! : undefined;
  return source !== undefined && `${source.shape}` === `${[b, k, t, d]}` ? source : undefined;
}

/** Rows of a transposed table are columns of the table: nothing is copied. */
function fromTransposed(call: Call, g: Maths): Value | undefined {
  const [table, ids] = call.inputs as [Value, Value];
  const from = table.from;
  if (from?.op !== "Transpose" || table.shape.length !== 2 || intOf(call, "axis", 0) !== 0) return undefined;
  const columns = g.gather(from.inputs[0]!, ids, 1);
  const rank = columns.shape.length;
  return g.transpose(columns, [...Array.from({ length: rank - 1 }, (_, i) => i + 1), 0]);
}
