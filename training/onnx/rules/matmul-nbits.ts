/**
 * Y = A·Wᵀ with W [N, K] in 4 or 8 bits, a scale (and a zero point) for each block of a row.
 *
 *   dA = dY·W      dbias = Σ dY      W has no gradient: it stays as it is, in four bits in memory
 *
 * W is unpacked where it is needed by DequantizeLinear, which reads the same bytes: both pack the low half
 * of a byte first. Zero points that are no integers are taken off behind it: (q - z) s = q s - z s.
 * Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 */
import { int, intOf } from "../graph.ts";
import type { Maths } from "../maths.ts";
import type { Operation, Value } from "../program.ts";
import { byteSize, isFloat, type Weight } from "../weight.ts";
import { type GradientRule, refuse } from "./rule.ts";

export const matMulNBits: GradientRule = {
  op: "MatMulNBits",
  domain: "com.microsoft",
  opset: [1, 1],
  backward: (node, [dy], g) => [
    () => {
      const w = unpacked(node, g);
      const dx = g.op("MatMul", [g.rows(dy!), w]);
      return g.reshape(dx, node.inputs[0]!.shape);
    },
    null,
    null,
    null,
    null,
    () => g.reduceSum(g.rows(dy!), [0], false),
  ],
};

function unpacked(node: Operation, g: Maths): Value {
  const [, packed, scales, zeroPoints, groupIndex] = node.inputs;
  const [k, n, bits] = [intOf(node, "K", 0), intOf(node, "N", 0), intOf(node, "bits", 4)];
  const block = intOf(node, "block_size", 32);
  if (bits !== 4 && bits !== 8) refuse(node, `bits must be 4 or 8, got ${bits}`);
  if (groupIndex !== undefined) refuse(node, "group indices (g_idx) are not read");
  if (packed?.weight === undefined) refuse(node, "its weight must be a constant");
  const type = bits === 4 ? "U4" : "U8";
  const blocks = Math.ceil(k / block);
  const { weight } = packed;
  const same: Weight = { ...weight, type, shape: [n, blocks * block], bytes: () => weight.bytes() };
  const whole = g.builder.weight(`${packed.name}/as ${type}`, same);
  const steps = g.reshape(scales!, [n, blocks]);
  const attributes = { axis: int(1), block_size: int(block) };
  if (zeroPoints !== undefined && isFloat(zeroPoints.type)) {
    const none = g.builder.constant(filledWeight(type, [n, blocks], 0));
    const raw = g.reshape(g.op("DequantizeLinear", [whole, steps, none], attributes), [n, blocks, block]);
    const shift = g.reshape(g.mul(g.reshape(zeroPoints, [n, blocks]), steps), [n, blocks, 1]);
    return g.slice(g.reshape(g.sub(raw, shift), [n, blocks * block]), 1, 0, k);
  }
  const points = g.builder.constant(zeroPointWeight(node, zeroPoints, type, n, blocks));
  return g.slice(g.op("DequantizeLinear", [whole, steps, points], attributes), 1, 0, k);
}

function filledWeight(type: "U4" | "U8", shape: readonly number[], byte: number): Weight {
  const bytes = new Uint8Array(byteSize(type, shape)).fill(byte);
  return { type, shape, bytes: () => bytes };
}

/** Zero points [n, blocks]: the middle of the range where none are given. Rows of an odd count are padded to bytes. */
function zeroPointWeight(
  node: Operation,
  given: Value | undefined,
  type: "U4" | "U8",
  n: number,
  blocks: number,
): Weight {
  const shape = [n, blocks];
  if (given !== undefined && (given.type !== "U8" || given.weight === undefined))
    refuse(node, "its zero points must be packed constants");
  const source = given?.weight?.bytes();
  if (source === undefined) return filledWeight(type, shape, type === "U8" ? 128 : 0x88);
  if (type === "U8") return { type, shape, bytes: () => source };
  const rowBytes = Math.ceil(blocks / 2);
  const bytes = new Uint8Array(Math.ceil((n * blocks) / 2));
  for (let at = 0; at < n * blocks; at++) {
    const column = at % blocks;
    const byte = source[Math.floor(at / blocks) * rowBytes + (column >> 1)]!;
    const half = column % 2 === 0 ? byte & 15 : byte >> 4;
    bytes[at >> 1]! |= at % 2 === 0 ? half : half << 4;
  }
  return { type, shape, bytes: () => bytes };
}
