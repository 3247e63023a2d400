/** Attention in its forms, and rotary positions. */
import { float32, tensor } from "../../../adapters/tensor.ts";
import { type Attributes, float, int } from "../../../training/onnx/graph.ts";
import type { RuleCase } from "./rule-check.ts";

const ms = "com.microsoft";
const bools = (shape: readonly number[], values: readonly number[]) =>
  tensor("BOOL", shape, Uint8Array.from(values));

const heads = (more: Attributes): Attributes => ({ num_heads: int(2), ...more });
const tables = [
  float32([6, 2], [1, 1, 0.5, 0.9, -0.4, 0.6, -1, 0.2, -0.7, -0.2, 0.3, -0.6]),
  float32([6, 2], [0, 0, 0.8, 0.4, 0.9, 0.8, 0.1, 1, -0.8, 1, -1, 0.8]),
];
const wide = [0, 1].map((phase) =>
  float32(
    [6, 8],
    Float32Array.from({ length: 48 }, (_, i) => Math.cos(i + phase)),
  ),
);
const past = (h: number, d: number) => tensor("F32", [1, h, 0, d], new Float32Array(0));

export const ATTENTION: readonly RuleCase[] = [
  {
    op: "Attention",
    note: "heads apart",
    opset: 23,
    inputs: [
      [1, 2, 3, 4],
      [1, 2, 5, 4],
      [1, 2, 5, 3],
    ],
  },
  {
    op: "Attention",
    note: "causal, grouped, flat",
    opset: 23,
    inputs: [
      [1, 3, 8],
      [1, 3, 4],
      [1, 3, 4],
    ],
    attributes: { q_num_heads: int(4), kv_num_heads: int(2), is_causal: int(1), softcap: float(2) },
  },
  {
    op: "Attention",
    note: "mask",
    opset: 23,
    inputs: [[1, 1, 2, 4], [1, 1, 2, 4], [1, 1, 2, 4], bools([2, 2], [1, 0, 1, 1])],
  },
  {
    op: "Attention",
    note: "softcap and a mask of numbers",
    opset: 23,
    inputs: [
      [1, 1, 2, 4],
      [1, 1, 3, 4],
      [1, 1, 3, 4],
      [2, 3],
    ],
    attributes: { softcap: float(1.5) },
  },
  {
    op: "Attention",
    note: "lengths of examples",
    opset: 24,
    inputs: [[2, 1, 2, 4], [2, 1, 3, 4], [2, 1, 3, 4], null, null, null, { ints: [2, 3], shape: [2] }],
  },
  {
    op: "RotaryEmbedding",
    note: "part of a head, flat",
    opset: 23,
    inputs: [[1, 3, 12], ...tables, { ints: [0, 2, 1], shape: [1, 3] }],
    attributes: { num_heads: int(2), rotary_embedding_dim: int(4) },
  },
  {
    op: "RotaryEmbedding",
    note: "interleaved, a table for each example",
    opset: 23,
    inputs: [
      [2, 2, 3, 4],
      float32([2, 3, 2], [1, 1, 0.5, 0.9, -0.4, 0.6, -1, 0.2, -0.7, -0.2, 0.3, -0.6]),
      float32([2, 3, 2], [0, 0, 0.8, 0.4, 0.9, 0.8, 0.1, 1, -0.8, 1, -1, 0.8]),
    ],
    attributes: { interleaved: int(1) },
  },
  { op: "RotaryEmbedding", opset: 23, inputs: [[1, 2, 3, 4], ...tables, { ints: [0, 2, 1], shape: [1, 3] }] },
  {
    op: "RotaryEmbedding",
    note: "interleaved",
    domain: ms,
    inputs: [[1, 3, 8], { ints: [0, 2, 1], shape: [1, 3] }, ...tables],
    attributes: heads({ interleaved: int(1) }),
  },
  {
    op: "RotaryEmbedding",
    note: "flat",
    domain: ms,
    inputs: [[1, 3, 8], { ints: [1], shape: [1] }, ...tables],
    attributes: heads({}),
  },
  {
    op: "MultiHeadAttention",
    domain: ms,
    inputs: [[1, 3, 4], [1, 2, 4], [1, 2, 4], [12]],
    attributes: heads({}),
  },
  {
    op: "MultiHeadAttention",
    note: "mask",
    domain: ms,
    inputs: [[1, 2, 4], [1, 2, 4], [1, 2, 4], null, tensor("I32", [1, 2], Int32Array.of(1, 0))],
    attributes: heads({}),
  },
  {
    op: "MultiHeadAttention",
    note: "heads apart, lengths, bias of scores",
    domain: ms,
    inputs: [[1, 2, 8], [1, 2, 3, 4], [1, 2, 3, 4], null, tensor("I32", [1], Int32Array.of(2)), [1, 2, 2, 3]],
    attributes: heads({ scale: float(0.7) }),
  },
  {
    op: "GroupQueryAttention",
    runtimeOutputs: 3,
    note: "softcap, bias, sink, interleaved",
    domain: ms,
    inputs: [
      [1, 3, 32],
      [1, 3, 16],
      [1, 3, 16],
      past(1, 16),
      past(1, 16),
      tensor("I32", [1, 1], Int32Array.of(2)),
      tensor("I32", [], Int32Array.of(3)),
      ...wide,
      null,
      [1, 2, 3, 3],
      [2],
    ],
    attributes: heads({
      kv_num_heads: int(1),
      do_rotary: int(1),
      rotary_interleaved: int(1),
      softcap: float(1.5),
      scale: float(0.4),
    }),
  },
  {
    op: "GroupQueryAttention",
    runtimeOutputs: 3,
    note: "packed, rotary, window",
    domain: ms,
    inputs: [
      [1, 3, 64],
      null,
      null,
      past(1, 16),
      past(1, 16),
      tensor("I32", [1, 1], Int32Array.of(2)),
      tensor("I32", [], Int32Array.of(3)),
      ...wide,
    ],
    attributes: heads({ kv_num_heads: int(1), do_rotary: int(1), local_window_size: int(2) }),
  },
];
