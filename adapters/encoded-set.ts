/**
 * Sets that travel beside an update (Fisher information), in float32 or in a codec for sets. A coded file names its
 * codec in `fedloom.set-codec`; each tensor lies under its own name as bytes, type and shape being those of the
 * adapter that was handed out.
 */
import { floats } from "./cast.ts";
import { malformed } from "./codecs/codec.ts";
import { decodeLog8, encodeLog8 } from "./codecs/log8.ts";
import { PYTORCH_METADATA, type SafetensorsFile, writeSafetensors } from "./safetensors.ts";
import { float32, sizeOf, type TensorSet, tensor, tensorSet } from "./tensor.ts";

/** What a client says it understands beside the codecs for updates; fp32 is understood by all. */
export const SET_CODECS: readonly string[] = ["log8"];

const KEY = "fedloom.set-codec";

/** The first codec wanted that the client understands, fp32 where there is none. */
export function negotiateSet(wanted: readonly string[], offered: readonly string[]): string {
  return wanted.find((name) => SET_CODECS.includes(name) && offered.includes(name)) ?? "fp32";
}

/** @throws TypeError for a codec that is not in the list, RangeError for values that it does not take */
export function encodeSet(codec: string, set: TensorSet): Uint8Array {
  if (codec === "fp32") return writeSafetensors(set);
  if (!SET_CODECS.includes(codec)) throw new TypeError(`There is no codec "${codec}" for sets`);
  const coded = [...set].map(([name, value]) => {
    const bytes = encodeLog8(Float32Array.from(floats(value)));
    return [name, tensor("U8", [bytes.length], new Uint8Array(bytes))] as const;
  });
  return writeSafetensors(tensorSet(coded), { ...PYTORCH_METADATA, [KEY]: codec });
}

/**
 * The set in this file as float32 tensors; each is decoded when it is read.
 *
 * @param origin the file that was handed out; both stay open for as long as the result is used
 * @throws FedloomError F3009 for damaged bytes, an unknown codec, and a tensor that was not handed out
 */
export function openSet(file: SafetensorsFile, origin: SafetensorsFile): SafetensorsFile {
  const codec = file.metadata[KEY];
  if (codec === undefined) return file;
  if (!SET_CODECS.includes(codec)) {
    throw malformed(codec.slice(0, 40), `for sets there are ${SET_CODECS.join(", ")}`);
  }
  for (const name of file.names) {
    if (!origin.has(name)) throw malformed(codec, `tensor "${name.slice(0, 100)}" was not handed out`);
  }
  const { readInto: _coded, isFinite: _known, ...whole } = file;
  return {
    ...whole,
    info: (name) => ({ ...file.info(name), dtype: "F32", shape: origin.info(name).shape }),
    read(name) {
      const stored = file.read(name);
      const { shape } = origin.info(name);
      if (!(stored.data instanceof Uint8Array)) {
        throw malformed(codec, `tensor "${name}" must be bytes, got ${stored.dtype}`);
      }
      return float32(shape, decodeLog8(stored.data, sizeOf(shape)));
    },
  };
}
