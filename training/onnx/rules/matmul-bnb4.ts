/**
 * Y = A·Wᵀ with W [N, K] in four bits of bitsandbytes: each picks one of sixteen numbers, times the largest value of its
 * block of the flat W.
 *
 *   dA = dY·W      W has no gradient and stays in four bits
 *
 * W is unpacked where it is needed. (The kernel's own transB = 0 reads beyond its buffer in onnxruntime 1.30.)
 * Sources: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md; the sixteen numbers of NF4:
 * Dettmers et al. 2023, appendix E, https://arxiv.org/abs/2305.14314
 */
import { intOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import { weightFrom } from "../numbers.ts";
import type { Operation, Value } from "../program.ts";
import type { Weight } from "../weight.ts";
import { type GradientRule, refuse } from "./rule.ts";

/** By quant_type. Of FP4, a sign, two bits of exponent and one of mantissa, the second half is the first with a minus. */
const FP4 = [0, 0.0052083333, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25];
const CODES: readonly (readonly number[])[] = [
  [...FP4, ...FP4.map((v) => -v)],
  [
    -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
  ],
];

export const matMulBnb4: GradientRule = {
  op: "MatMulBnb4",
  domain: "com.microsoft",
  opset: [1, 1],
  backward: (node, [dy], g) => [
    () => g.reshape(g.op("MatMul", [g.rows(dy!), unpacked(node, g)]), node.inputs[0]!.shape),
    null,
    null,
  ],
};

/** W [N, K] */
function unpacked(node: Operation, g: Maths): Value {
  const [, packed, largest] = node.inputs as [Value, Value, Value];
  const [k, n, block] = [intOf(node, "K", 0), intOf(node, "N", 0), intOf(node, "block_size", 64)];
  const codes = CODES[intOf(node, "quant_type", 1)];
  if (intOf(node, "transB", 1) !== 1) refuse(node, "transB must be 1");
  if (codes === undefined) refuse(node, "quant_type must be 0 or 1");
  if (packed.weight === undefined) refuse(node, "its weight must be a constant");
  if ((n * k) % block !== 0) refuse(node, `blocks of ${block} must divide ${n} x ${k} weights`);
  const { weight } = packed;
  const halves: Weight = { ...weight, type: "U4", shape: [(n * k) / 2, 2], bytes: () => weight.bytes() };
  const pairs = g.cast(g.builder.weight(`${packed.name}/as U4`, halves), "I32");
  // The standard has the low half of a byte first, bitsandbytes the high one.
  const order = g.gather(pairs, g.builder.integers([1, 0]), 1);
  const table = g.builder.constant(
    weightFrom({ type: largest.type, shape: [16], data: Float64Array.from(codes) }),
  );
  const values = g.gather(table, g.reshape(order, [(n * k) / block, block]), 0);
  return g.reshape(g.mul(values, g.reshape(largest, [(n * k) / block, 1])), [n, k]);
}
