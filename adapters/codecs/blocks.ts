/**
 * Differences as small integers, each block of them with a scale of its own, rounded stochastically.
 *
 *   scale = max|x| / levels over the block        code = floor(x / scale + u), u uniform in [0, 1)
 *
 * The rounding is right on average, so that errors of many clients cancel in the mean (Alistarh et al. 2017, QSGD,
 * https://arxiv.org/abs/1610.02132, with a scale per block in place of one norm). No element is off by more than its
 * block's scale, and what did not change stays exactly as it was.
 *
 * Bytes: one float32 scale a block, then the codes.
 */
import type { Rng } from "../../base/rng.ts";
import { bytesOf, floatsAt, malformed } from "./codec.ts";

export interface Quantized {
  readonly scales: Float32Array;
  readonly codes: Int8Array;
}

/** @param levels codes run from -levels to levels */
export function quantize(x: Float32Array, levels: number, block: number, rng: Rng): Quantized {
  const scales = new Float32Array(Math.ceil(x.length / block));
  const codes = new Int8Array(x.length);
  for (let b = 0; b < scales.length; b++) {
    const end = Math.min(x.length, (b + 1) * block);
    let largest = 0;
    for (let i = b * block; i < end; i++) {
      const size = Math.abs(x[i]!);
      if (size > largest) largest = size;
    }
    const scale = Math.fround(largest / levels);
    if (scale === 0) continue;
    scales[b] = scale;
    for (let i = b * block; i < end; i++) {
      const code = Math.floor(x[i]! / scale + rng.uint32() / 2 ** 32);
      // The scale's own rounding can push the largest element past the last level.
      codes[i] = Math.max(-levels, Math.min(levels, code));
    }
  }
  return { scales, codes };
}

/** @throws FedloomError F3009 for a scale that is no size, or a code beyond the levels */
export function dequantize(
  codec: string,
  { scales, codes }: Quantized,
  levels: number,
  block: number,
): Float32Array {
  for (const scale of scales) {
    if (!(scale >= 0 && scale < Number.POSITIVE_INFINITY))
      throw malformed(codec, `a scale must be finite, got ${scale}`);
  }
  const x = new Float32Array(codes.length);
  for (let b = 0; b < scales.length; b++) {
    const end = Math.min(x.length, (b + 1) * block);
    for (let i = b * block; i < end; i++) {
      const code = codes[i]!;
      if (code < -levels) throw malformed(codec, `a code must be at least ${-levels}, got ${code}`);
      x[i] = code * scales[b]!;
    }
  }
  return x;
}

export function withScales(scales: Float32Array, codes: Uint8Array): Uint8Array {
  return Buffer.concat([bytesOf(scales), codes]);
}

export function scalesOf(bytes: Uint8Array, elements: number, block: number): Float32Array {
  return floatsAt(bytes, 0, Math.ceil(elements / block));
}
