/** Operators of the runtime's own that join several, and those that newer operator sets have one name for. */
import { float32, tensor } from "../../../adapters/tensor.ts";
import { float, floats, int, ints, string } from "../../../training/onnx/graph.ts";
import type { RuleCase } from "./rule-check.ts";

const ms = "com.microsoft";
const int32 = (shape: readonly number[], values: readonly number[]) =>
  tensor("I32", shape, Int32Array.from(values));

export const FUSED: readonly RuleCase[] = [
  { op: "FastGelu", domain: ms, inputs: [[2, 3], [3]] },
  { op: "FastGelu", note: "no bias", domain: ms, inputs: [[2, 3]] },
  { op: "BiasGelu", domain: ms, inputs: [[2, 4, 3], [3]] },
  {
    op: "FusedMatMul",
    domain: ms,
    inputs: [
      [2, 2, 3],
      [2, 4, 3],
    ],
    attributes: { transB: int(1), alpha: float(0.25) },
  },
  {
    op: "FusedMatMul",
    domain: ms,
    note: "transA",
    inputs: [
      [3, 2],
      [3, 4],
    ],
    attributes: { transA: int(1) },
  },
  {
    op: "FusedMatMul",
    domain: ms,
    note: "transBatchA, transB",
    inputs: [
      [3, 2, 4],
      [2, 5, 4],
    ],
    attributes: { transBatchA: int(1), transB: int(1) },
  },
  {
    op: "FusedMatMul",
    domain: ms,
    note: "a weight and a factor",
    inputs: [[2, 3], float32([3, 2], [1, -2, 3, 4, 0.5, 1])],
    attributes: { alpha: float(0.3) },
  },
  {
    op: "FusedGemm",
    domain: ms,
    inputs: [[2, 3], [3, 4], [4]],
    attributes: { activation: string("Tanh"), alpha: float(0.5), beta: float(2) },
  },
  {
    op: "FusedGemm",
    domain: ms,
    note: "a parameter of the activation, transposed",
    inputs: [
      [2, 3],
      [4, 3],
    ],
    attributes: { activation: string("Elu"), activation_alpha: float(0.7), transB: int(1) },
  },
  {
    op: "FusedConv",
    domain: ms,
    inputs: [[1, 2, 5, 5], [3, 2, 3, 3], [3]],
    attributes: { activation: string("Sigmoid"), pads: ints([1, 1, 1, 1]) },
  },
  {
    op: "FusedConv",
    domain: ms,
    note: "a sum before the activation, which has parameters",
    inputs: [[1, 2, 4, 4], [2, 1, 2, 2], [2], [1, 2, 3, 3]],
    attributes: {
      activation: string("HardSigmoid"),
      activation_params: floats([0.05, 0.5]),
      group: int(2),
    },
  },
  { op: "Swish", opset: 24, inputs: [[2, 3]], attributes: { alpha: float(1.3) } },
  { op: "SkipLayerNormalization", domain: ms, inputs: [[1, 2, 5], [1, 2, 5], [5], [5], [5]] },
  {
    op: "SkipLayerNormalization",
    domain: ms,
    note: "no bias, one sum for the batch",
    inputs: [[2, 3, 5], [1, 3, 5], [5], [5]],
    attributes: { epsilon: float(1e-3) },
  },
  { op: "SkipSimplifiedLayerNormalization", domain: ms, inputs: [[1, 2, 5], [1, 2, 5], [5]] },
  {
    op: "SkipSimplifiedLayerNormalization",
    domain: ms,
    note: "bias, one sum for all rows",
    inputs: [[2, 3, 5], [3, 5], [5], [5]],
    attributes: { epsilon: float(1e-3) },
  },
  {
    op: "EmbedLayerNormalization",
    domain: ms,
    runtimeOutputs: 2,
    inputs: [
      int32([2, 3], [1, 0, 4, 2, 2, 3]),
      int32([2, 3], [0, 0, 1, 1, 0, 1]),
      [5, 8],
      [6, 8],
      [2, 8],
      [8],
      [8],
      int32([2, 3], [1, 1, 1, 1, 1, 0]),
    ],
    attributes: { epsilon: float(1e-5) },
  },
  {
    op: "Attention",
    domain: ms,
    inputs: [[2, 3, 4], [4, 12], [12], int32([2, 3], [1, 1, 1, 1, 1, 0])],
    attributes: { num_heads: int(2) },
  },
  {
    op: "Attention",
    domain: ms,
    note: "causal, wider values, a bias of the scores",
    inputs: [[1, 3, 4], [4, 14], [14], null, null, [1, 2, 3, 3]],
    attributes: {
      num_heads: int(2),
      unidirectional: int(1),
      qkv_hidden_sizes: ints([4, 4, 6]),
      scale: float(0.6),
    },
  },
  {
    op: "Attention",
    domain: ms,
    note: "lengths",
    inputs: [[2, 3, 4], [4, 12], [12], int32([2], [3, 2])],
    attributes: { num_heads: int(2) },
  },
];
