/** Matrix products, of quantized matrices too. */
import { sizeOf } from "../../../adapters/tensor.ts";
import { floatOf, intOf } from "../../onnx/graph.ts";
import { einsumTerms } from "../../onnx/operators/products.ts";
import { axisOf, broadcastShape, sameShape } from "../../onnx/program.ts";
import type { Kernel, Tf, TfTensor } from "./kernel.ts";

/** [..., M, K] by [..., K, N], leading axes broadcast. A batch by one matrix is one product of all rows. */
function product(tf: Tf, a: TfTensor, b: TfTensor): TfTensor {
  const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  if (b.rank === 2) return tf.reshape(tf.matMul(tf.reshape(a, [-1, k]), b), [...a.shape.slice(0, -1), n]);
  const batch = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const flat = (x: TfTensor): TfTensor => {
    const own = x.shape.slice(-2);
    const whole = [...batch, ...own];
    return tf.reshape(sameShape(x.shape, whole) ? x : tf.broadcastTo(x, whole), [sizeOf(batch), ...own]);
  };
  return tf.reshape(tf.matMul(flat(a), flat(b)), [...batch, m, n]);
}

/** Sums over the letters that neither another operand nor the result has; the rest is one batched product. */
const einsum: Kernel = {
  op: "Einsum",
  refuses(call) {
    const { terms } = einsumTerms(call);
    if (terms.length > 2) return `at most two operands are computed, got ${terms.length}`;
    if (terms.some((term) => new Set(term).size < term.length)) return "diagonals are not computed";
    return undefined;
  },
  run(tf, inputs, call) {
    const { terms, result } = einsumTerms(call);
    const others = (i: number): string => result + (terms[1 - i] ?? "");
    const [left, right] = inputs.map((x, i) => {
      const lone = [...terms[i]!].flatMap((letter, axis) => (others(i).includes(letter) ? [] : [axis]));
      return lone.length === 0 ? x! : tf.sum(x!, lone);
    });
    const [a, b] = terms.map((term, i) => [...term].filter((letter) => others(i).includes(letter)));
    const ordered = (x: TfTensor, letters: readonly string[], order: readonly string[]): TfTensor =>
      tf.transpose(
        x,
        order.map((letter) => letters.indexOf(letter)),
      );
    if (b === undefined || right === undefined) return ordered(left!, a!, [...result]);
    const shared = a!.filter((letter) => b.includes(letter));
    const batch = shared.filter((letter) => result.includes(letter));
    const summed = shared.filter((letter) => !result.includes(letter));
    const [rows, columns] = [a!, b].map((own) => own.filter((letter) => !shared.includes(letter)));
    const sizes = new Map<string, number>();
    terms.forEach((term, i) => {
      [...term].forEach((letter, axis) => {
        sizes.set(letter, call.inputs[i]!.shape[axis]!);
      });
    });
    const dims = (letters: readonly string[]): number[] => letters.map((letter) => sizes.get(letter)!);
    const flat = (x: TfTensor, own: readonly string[], parts: readonly (readonly string[])[]): TfTensor =>
      tf.reshape(
        ordered(x, own, parts.flat()),
        parts.map((part) => sizeOf(dims(part))),
      );
    const all = tf.matMul(flat(left!, a!, [batch, rows!, summed]), flat(right, b, [batch, summed, columns!]));
    const order = [...batch, ...rows!, ...columns!];
    return ordered(tf.reshape(all, dims(order)), order, [...result]);
  },
};

/** y = (x - zero point) scale, one scale for all, for each place of an axis, or for each block along it. */
const dequantize: Kernel = {
  op: "DequantizeLinear",
  run(tf, [x, scale, zeroPoint], call) {
    const block = intOf(call, "block_size", 0);
    const axis = axisOf(intOf(call, "axis", 1), Math.max(x!.rank, 2));
    const spread = (given: TfTensor): TfTensor => {
      const values = tf.cast(given, "float32");
      if (block > 0) {
        // [..., blocks, ...] -> [..., blocks, 1, ...] -> [..., blocks, block, ...]
        const apart = tf.expandDims(values, axis + 1);
        const wide = apart.shape.map((dim, i) => (i === axis + 1 ? block : dim));
        const whole = values.shape.map((dim, i) => (i === axis ? dim * block : dim));
        const all = tf.reshape(tf.broadcastTo(apart, wide), whole);
        return tf.slice(
          all,
          whole.map(() => 0),
          x!.shape,
        );
      }
      return values.size === 1
        ? tf.reshape(values, [])
        : tf.reshape(
            values,
            x!.shape.map((dim, i) => (i === axis ? dim : 1)),
          );
    };
    const whole = tf.cast(x!, "float32");
    return tf.mul(zeroPoint === undefined ? whole : tf.sub(whole, spread(zeroPoint)), spread(scale!));
  },
};

/** Bytes as two numbers of four bits, the low half first: [..., n] -> [..., 2 n]. */
function halves(tf: Tf, bytes: TfTensor): TfTensor {
  const base = tf.scalar(16, "int32");
  const high = tf.floorDiv(bytes, base);
  const low = tf.sub(bytes, tf.mul(high, base));
  return tf.reshape(tf.stack([low, high], bytes.rank), [
    ...bytes.shape.slice(0, -1),
    2 * bytes.shape.at(-1)!,
  ]);
}

/** A·Wᵀ, W [N, K] in blocks of 4 or 8 bits with a scale and a zero point each (the middle where none is given). */
const matMulNBits: Kernel = {
  op: "MatMulNBits",
  domain: "com.microsoft",
  refuses(call) {
    const bits = intOf(call, "bits", 4);
    if (bits !== 4 && bits !== 8) return `bits must be 4 or 8, got ${bits}`;
    if (call.inputs[4] !== undefined) return "group indices (g_idx) are not read";
    const points = call.inputs[3];
    return points === undefined || points.type === "U8" ? undefined : "its zero points must be packed";
  },
  run(tf, [a, packed, scales, points, , bias], call) {
    const [k, n, bits] = [intOf(call, "K", 0), intOf(call, "N", 0), intOf(call, "bits", 4)];
    const block = intOf(call, "block_size", 32);
    const blocks = Math.ceil(k / block);
    const unpacked = (bytes: TfTensor): TfTensor =>
      tf.cast(bits === 4 ? halves(tf, bytes) : bytes, "float32");
    const zero =
      points === undefined
        ? tf.scalar(2 ** (bits - 1))
        : tf.slice(unpacked(tf.reshape(points, [n, -1])), [0, 0], [n, blocks]).reshape([n, blocks, 1]);
    const w = tf.mul(
      tf.sub(unpacked(tf.reshape(packed!, [n, blocks, -1])), zero),
      tf.reshape(scales!, [n, blocks, 1]),
    );
    const matrix = tf.slice(tf.reshape(w, [n, blocks * block]), [0, 0], [n, k]);
    const rows = tf.matMul(tf.reshape(a!, [-1, k]), matrix, false, true);
    const y = tf.reshape(rows, [...a!.shape.slice(0, -1), n]);
    return bias === undefined ? y : tf.add(y, bias);
  },
};

export const PRODUCTS: readonly Kernel[] = [
  {
    op: "MatMul",
    run(tf, [a, b], call) {
      const left = a!.rank === 1 ? tf.reshape(a!, [1, -1]) : a!;
      const right = b!.rank === 1 ? tf.reshape(b!, [-1, 1]) : b!;
      return tf.reshape(product(tf, left, right), [...call.outputs[0]!.shape]);
    },
  },
  {
    op: "Gemm",
    run(tf, [a, b, c], call) {
      const turned = (name: string): boolean => intOf(call, name, 0) === 1;
      const scaled = (x: TfTensor, factor: number): TfTensor => (factor === 1 ? x : tf.mul(x, factor));
      const ab = scaled(tf.matMul(a!, b!, turned("transA"), turned("transB")), floatOf(call, "alpha", 1));
      return c === undefined ? ab : tf.add(ab, scaled(c, floatOf(call, "beta", 1)));
    },
  },
  einsum,
  dequantize,
  matMulNBits,
];
