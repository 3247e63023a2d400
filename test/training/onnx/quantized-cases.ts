/** Products with weights of a few bits. */
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

export const N_BITS: readonly RuleCase[] = [
  nBits(5, 64, 4, 32, false),
  nBits(3, 96, 4, 32, true),
  nBits(3, 80, 4, 64, true),
  nBits(4, 128, 4, 128, true),
  nBits(3, 64, 8, 32, false),
  nBits(3, 96, 8, 32, true),
];
