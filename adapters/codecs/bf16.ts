/** The difference in bfloat16: half the bytes, a relative error of 2^-8 of what changed, the range of float32. */
import { bfloat16ToFloat32, toBfloat16 } from "../half.ts";
import { addTo, bytesOf, type Codec, copyOf, differenceTo, requireBytes } from "./codec.ts";

export const bf16: Codec = {
  name: "bf16",
  errorFeedback: false,
  encode: (values, reference) => bytesOf(toBfloat16(differenceTo(reference, values))),
  decode(bytes, reference) {
    requireBytes("bf16", bytes, 2 * reference.length);
    return addTo(reference, bfloat16ToFloat32(new Uint16Array(copyOf(bytes))));
  },
};
