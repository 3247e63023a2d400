/**
 * The difference in float16: half the bytes, a relative error of 2^-11 of what changed.
 *
 * Changes below 6e-8 vanish and changes above 65504 do not fit, which `encodeUpdate` refuses.
 */
import { float16ToFloat32, toFloat16 } from "../half.ts";
import { addTo, bytesOf, type Codec, copyOf, differenceTo, requireBytes } from "./codec.ts";

export const fp16: Codec = {
  name: "fp16",
  errorFeedback: false,
  encode: (values, reference) => bytesOf(toFloat16(differenceTo(reference, values))),
  decode(bytes, reference) {
    requireBytes("fp16", bytes, 2 * reference.length);
    return addTo(reference, float16ToFloat32(new Uint16Array(copyOf(bytes))));
  },
};
