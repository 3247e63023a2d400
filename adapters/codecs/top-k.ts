/**
 * The twentieth of the differences that is largest in size, in float32, and where they are: some 6 % of float32.
 *
 * What is left out is kept at the client and added before the next selection, so that nothing is lost, only late
 * (Stich et al. 2018, Sparsified SGD with Memory, https://arxiv.org/abs/1809.07599).
 *
 * Bytes: count (uint32), the differences (float32), then the gaps between their positions as LEB128 numbers.
 */
import { bytesOf, type Codec, differenceTo, floatsAt, malformed } from "./codec.ts";

const SHARE = 0.05;

export const topK: Codec = {
  name: "topk",
  errorFeedback: true,
  encode(values, reference) {
    const difference = differenceTo(reference, values);
    const positions = largest(difference, Math.ceil(SHARE * difference.length));
    const kept = new Float32Array(positions.length);
    for (let i = 0; i < kept.length; i++) kept[i] = difference[positions[i]!]!;
    return Buffer.concat([bytesOf(Uint32Array.of(positions.length)), bytesOf(kept), gapsOf(positions)]);
  },
  decode(bytes, reference) {
    const values = reference.slice();
    const count = bytes.length < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    if (bytes.length < 4 + 5 * count || count > values.length) {
      throw malformed("topk", `${bytes.length} bytes cannot hold ${count} of ${values.length} elements`);
    }
    const kept = floatsAt(bytes, 4, count);
    let at = 4 + 4 * count;
    let position = -1;
    for (const difference of kept) {
      let gap = 0;
      for (let shift = 1; ; shift *= 128) {
        const byte = bytes[at++];
        if (byte === undefined || shift > 2 ** 28)
          throw malformed("topk", "a position is cut off or too long");
        gap += (byte & 127) * shift;
        if (byte < 128) break;
      }
      position += gap + 1;
      if (position >= values.length)
        throw malformed("topk", `position ${position} is beyond ${values.length} elements`);
      values[position]! += difference;
    }
    if (at !== bytes.length) throw malformed("topk", `${bytes.length - at} bytes follow the last position`);
    return values;
  },
};

/** Positions of the k elements largest in size, ascending; of equal ones the first. Two counting passes, no sort. */
function largest(x: Float32Array, k: number): Uint32Array {
  // Without the sign, float32 bit patterns order as the numbers do: by their upper half, then by their lower one.
  const words = new Uint32Array(x.buffer, x.byteOffset, x.length);
  const upperSizes = new Uint32Array(65536);
  for (let i = 0; i < words.length; i++) upperSizes[(words[i]! & SIZE_BITS) >>> 16]!++;
  const upper = bucketOf(upperSizes, k);
  const lowerSizes = new Uint32Array(65536);
  for (let i = 0; i < words.length; i++) {
    const size = words[i]! & SIZE_BITS;
    if (size >>> 16 === upper.bucket) lowerSizes[size & 0xffff]!++;
  }
  const lower = bucketOf(lowerSizes, upper.left);
  const threshold = upper.bucket * 65536 + lower.bucket;
  const positions = new Uint32Array(k);
  let found = 0;
  let ties = lower.left;
  for (let i = 0; i < words.length && found < k; i++) {
    const size = words[i]! & SIZE_BITS;
    if (size > threshold || (size === threshold && ties-- > 0)) positions[found++] = i;
  }
  return positions;
}

const SIZE_BITS = 0x7fffffff;

/** The bucket, counted from the top, in which the k-th element lies, and how many of that bucket are wanted. */
function bucketOf(sizes: Uint32Array, k: number): { bucket: number; left: number } {
  let left = k;
  let bucket = sizes.length - 1;
  while (bucket > 0 && sizes[bucket]! < left) left -= sizes[bucket--]!;
  return { bucket, left };
}

/** LEB128: seven bits a byte, the lowest first, the high bit where more follow. */
function gapsOf(positions: Uint32Array): Uint8Array {
  const out = new Uint8Array(MAX_GAP_BYTES * positions.length);
  let length = 0;
  let before = -1;
  for (let i = 0; i < positions.length; i++) {
    let gap = positions[i]! - before - 1;
    for (; gap > 127; gap = Math.floor(gap / 128)) out[length++] = (gap % 128) | 128;
    out[length++] = gap;
    before = positions[i]!;
  }
  return out.subarray(0, length);
}

/** 2^32 in groups of seven bits. */
const MAX_GAP_BYTES = 5;
