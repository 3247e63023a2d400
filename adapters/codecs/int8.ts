/** The difference in 8 bits, blocks of 256 (blocks.ts): 25.4 % of float32. */
import { dequantize, quantize, scalesOf, withScales } from "./blocks.ts";
import { addTo, bytesOf, type Codec, copyOf, differenceTo, requireBytes } from "./codec.ts";

const LEVELS = 127;
/** Small enough that one outlier coarsens little, large enough that scales cost 1.6 %. */
const BLOCK = 256;

export const int8: Codec = {
  name: "int8",
  errorFeedback: false,
  encode(values, reference, _shape, rng) {
    const { scales, codes } = quantize(differenceTo(reference, values), LEVELS, BLOCK, rng);
    return withScales(scales, bytesOf(codes));
  },
  decode(bytes, reference) {
    const scaleBytes = 4 * Math.ceil(reference.length / BLOCK);
    requireBytes("int8", bytes, scaleBytes + reference.length);
    const scales = scalesOf(bytes, reference.length, BLOCK);
    const codes = new Int8Array(copyOf(bytes, scaleBytes));
    return addTo(reference, dequantize("int8", { scales, codes }, LEVELS, BLOCK));
  },
};
