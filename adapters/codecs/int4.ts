/** The difference in 4 bits, blocks of 64 (blocks.ts): 14.1 % of float32. */
import { dequantize, quantize, scalesOf, withScales } from "./blocks.ts";
import { addTo, type Codec, differenceTo, malformed, requireBytes } from "./codec.ts";

const LEVELS = 7;
/** With 15 levels the largest element of a block decides the rest: small blocks, though scales cost 12.5 %. */
const BLOCK = 64;
/** Codes lie as code + 8 in half bytes, the first one in the low half. */
const OFFSET = 8;

export const int4: Codec = {
  name: "int4",
  errorFeedback: false,
  encode(values, reference, _shape, rng) {
    const { scales, codes } = quantize(differenceTo(reference, values), LEVELS, BLOCK, rng);
    const packed = new Uint8Array(Math.ceil(codes.length / 2));
    for (let i = 0; i < codes.length; i++) packed[i >> 1]! |= (codes[i]! + OFFSET) << (4 * (i & 1));
    return withScales(scales, packed);
  },
  decode(bytes, reference) {
    const n = reference.length;
    const scaleBytes = 4 * Math.ceil(n / BLOCK);
    requireBytes("int4", bytes, scaleBytes + Math.ceil(n / 2));
    const codes = new Int8Array(n);
    for (let i = 0; i < n; i++) codes[i] = ((bytes[scaleBytes + (i >> 1)]! >> (4 * (i & 1))) & 15) - OFFSET;
    if (n % 2 === 1 && bytes[bytes.length - 1]! >> 4 !== 0)
      throw malformed("int4", "the last half byte must be 0");
    return addTo(reference, dequantize("int4", { scales: scalesOf(bytes, n, BLOCK), codes }, LEVELS, BLOCK));
  },
};
