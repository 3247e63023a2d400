/** Everything as it is. A file in this codec is the ordinary safetensors file of an adapter. */
import { bytesOf, type Codec, floatsAt, requireBytes } from "./codec.ts";

export const fp32: Codec = {
  name: "fp32",
  errorFeedback: false,
  encode: (values) => bytesOf(values),
  decode(bytes, reference) {
    requireBytes("fp32", bytes, 4 * reference.length);
    return floatsAt(bytes, 0, reference.length);
  },
};
