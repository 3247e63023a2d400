/** Weights of a few bits. */
import { float32, tensor } from "../../../adapters/tensor.ts";
import { int } from "../../../training/onnx/graph.ts";
import type { RuleCase } from "./rule-check.ts";

/** A weight in `bits` bits, [n, blocks, bytes], its scales and zero points as MatMulNBits takes them. */
function nBits(n: number, k: number, bits: 4 | 8, block: number, withPoints: boolean): RuleCase {
  const blocks = Math.ceil(k / block);
  const bytes = (count: number, step: number) =>
    Uint8Array.from({ length: count }, (_, i) => (i * step + 7) % 256);
  const blockBytes = (block * bits) / 8;
  const pointBytes = n * (bits === 8 ? blocks : Math.ceil(blocks / 2));
  return {
    op: "MatMulNBits",
    domain: "com.microsoft",
    note: `${bits} bits, blocks of ${block}${withPoints ? ", zero points" : ""}`,
    inputs: [
      [2, 3, k],
      tensor("U8", [n, blocks, blockBytes], bytes(n * blocks * blockBytes, 37)),
      float32(
        [n * blocks],
        Float32Array.from({ length: n * blocks }, (_, i) => (1 + (i % 3)) / 2 ** bits),
      ),
      ...(withPoints ? [tensor("U8", [pointBytes], bytes(pointBytes, 53))] : []),
    ],
    attributes: { K: int(k), N: int(n), bits: int(bits), block_size: int(block), accuracy_level: int(1) },
  };
}

/** A weight [n, k] in four bits of bitsandbytes, quant_type 0 (FP4) or 1 (NF4), with the largest value of each block. */
function bnb4(n: number, k: number, type: 0 | 1, block: number): RuleCase {
  const count = (n * k) / 2;
  const blocks = (n * k) / block;
  return {
    op: "MatMulBnb4",
    domain: "com.microsoft",
    note: type === 0 ? "FP4" : "NF4",
    kernels: "onnxruntime",
    inputs: [
      [2, 3, k],
      tensor(
        "U8",
        [count],
        Uint8Array.from({ length: count }, (_, i) => (i * 37 + 7) % 256),
      ),
      float32(
        [blocks],
        Float32Array.from({ length: blocks }, (_, i) => (1 + (i % 3)) / 4),
      ),
    ],
    attributes: { K: int(k), N: int(n), block_size: int(block), quant_type: int(type) },
  };
}

const bytes = (shape: readonly number[]) => {
  const size = shape.reduce((product, dim) => product * dim, 1);
  return tensor(
    "U8",
    shape,
    Uint8Array.from({ length: size }, (_, i) => (i * 53 + 11) % 31),
  );
};

const floatPoints = nBits(3, 64, 4, 32, false);
const noPoints = nBits(3, 64, 8, 32, false);

export const QUANTIZED: readonly RuleCase[] = [
  nBits(5, 64, 4, 32, false),
  nBits(3, 96, 4, 32, true),
  nBits(3, 80, 4, 64, true),
  nBits(4, 128, 4, 128, true),
  nBits(3, 64, 8, 32, false),
  nBits(3, 96, 8, 32, true),
  {
    ...floatPoints,
    note: "zero points that are no integers",
    kernels: "onnxruntime",
    inputs: [...floatPoints.inputs, float32([3, 2], [7.5, 8.25, 6, 8, 9.5, 7])],
  },
  { ...noPoints, note: "bias", kernels: "onnxruntime", inputs: [...noPoints.inputs, null, null, [3]] },
  bnb4(4, 32, 0, 16),
  bnb4(3, 64, 1, 64),
  {
    op: "DequantizeLinear",
    note: "one scale",
    inputs: [bytes([2, 3]), [], tensor("U8", [], Uint8Array.of(9))],
    opset: 21,
  },
  {
    op: "DequantizeLinear",
    note: "a scale for each column",
    opset: 21,
    inputs: [bytes([2, 3]), [3], bytes([3])],
    attributes: { axis: int(-1) },
  },
  {
    op: "DequantizeLinear",
    note: "blocks",
    opset: 21,
    inputs: [bytes([2, 6, 2]), [2, 3, 2], bytes([2, 3, 2])],
    attributes: { axis: int(1), block_size: int(2) },
  },
  {
    op: "DequantizeLinear",
    note: "a scale for each row",
    domain: "com.microsoft",
    kernels: "onnxruntime",
    inputs: [bytes([2, 3]), [2], bytes([2])],
    attributes: { axis: int(0) },
  },
];
