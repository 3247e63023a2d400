/**
 * Updates on the wire: safetensors files that name their codec, read as if they held the whole tensors.
 *
 * The metadata say all that a reader needs: `fedloom.codec`, and `fedloom.reference`, the SHA-256 of the file that was
 * handed out and that the differences count from. Each tensor lies under its own name as the codec's bytes (U8); its
 * type and shape are the reference's, so that no peer can announce a tensor larger than what it was handed.
 * A file without `fedloom.codec` is an ordinary one: the codec fp32.
 */
import { FedloomError } from "../base/errors.ts";
import type { Rng } from "../base/rng.ts";
import { floats, floatTensor, isFloat } from "./cast.ts";
import { addTo, type Codec, differenceTo, malformed } from "./codecs/codec.ts";
import { codecOf } from "./codecs/index.ts";
import { PYTORCH_METADATA, type SafetensorsFile, safetensorsPieces } from "./safetensors.ts";
import { float32, sameLayout, sameShape, type Tensor, type TensorSet, tensor, tensorSet } from "./tensor.ts";

/** What was handed out, and the SHA-256 of its file. */
export interface Reference {
  readonly tensors: TensorSet;
  readonly sha256: string;
}

export interface EncodedUpdate {
  /** The file, one piece after the other; they may be the memory of the tensors that were sent. */
  readonly pieces: readonly Uint8Array[];
  /** What was changed and not sent, for the next call; empty for codecs without error feedback. */
  readonly memory: TensorSet;
}

export interface EncodeOptions {
  /** That of this client's last update to the same run. */
  readonly memory?: TensorSet;
  /** Further metadata for the file. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * @param rng for stochastic rounding: the same generator gives the same bytes
 * @throws FedloomError F3012 for a tensor with NaN or infinity, and for changes beyond a codec's range
 * @throws TypeError for a tensor that is not laid out as the reference's
 */
export function encodeUpdate(
  codec: Codec,
  update: TensorSet,
  reference: Reference,
  rng: Rng,
  { memory = new Map(), metadata = {} }: EncodeOptions = {},
): EncodedUpdate {
  if (codec.name === "fp32") {
    return { pieces: safetensorsPieces(update, { ...PYTORCH_METADATA, ...metadata }), memory: new Map() };
  }
  const encoded: [string, Tensor][] = [];
  const left: [string, Tensor][] = [];
  for (const [name, changed] of update) {
    const origin = reference.tensors.get(name);
    if (origin === undefined || !sameLayout(origin, changed)) {
      throw new TypeError(`Tensor "${name}" was not handed out as ${changed.dtype} [${changed.shape}]`);
    }
    const { shape } = changed;
    const from = single(origin);
    const values = codec.errorFeedback ? plus(single(changed), memory.get(name), shape) : single(changed);
    requireRange(codec, name, from, values, differenceTo(from, values));
    const bytes = codec.encode(values, from, shape, rng.fork("codec", name));
    const back = codec.decode(bytes, from, shape);
    requireRange(codec, name, from, values, back);
    encoded.push([name, tensor("U8", [bytes.length], new Uint8Array(bytes))]);
    if (codec.errorFeedback)
      left.push([
        name,
        float32(
          shape,
          values.map((value, i) => value - back[i]!),
        ),
      ]);
  }
  const described = { "fedloom.codec": codec.name, "fedloom.reference": reference.sha256 };
  return {
    pieces: safetensorsPieces(tensorSet(encoded), { ...PYTORCH_METADATA, ...metadata, ...described }),
    memory: tensorSet(left),
  };
}

/**
 * The update in this file as whole tensors; each is decoded when it is read.
 *
 * @param origin the file that was handed out; both stay open for as long as the result is used, and closing the result
 *   closes `file` only
 * @throws FedloomError F3009 for damaged bytes, F3010 for an unknown codec, F3011 for another reference than `origin`
 */
export function openUpdate(
  file: SafetensorsFile,
  origin: { readonly file: SafetensorsFile; readonly sha256: string },
): SafetensorsFile {
  const name = file.metadata["fedloom.codec"];
  if (name === undefined) return file;
  const codec = codecOf(name);
  const reference = file.metadata["fedloom.reference"] ?? "nothing";
  if (reference !== origin.sha256) {
    throw new FedloomError(
      "F3011",
      `Cannot decode an update with codec "${name}": it counts from ${reference.slice(0, 12)}, this is ${origin.sha256.slice(0, 12)}`,
      { codec: name },
    );
  }
  for (const tensorName of file.names) {
    if (!origin.file.has(tensorName))
      throw malformed(name, `tensor "${tensorName.slice(0, 100)}" was not handed out`);
    if (!isFloat(origin.file.info(tensorName).dtype))
      throw malformed(name, `tensor "${tensorName}" holds no floats`);
  }
  // What lies in the file in parts is coded: only whole tensors can be read, and nothing is known of their numbers.
  const { readInto: _coded, isFinite: _known, ...whole } = file;
  return {
    ...whole,
    info(tensorName) {
      const { dtype, shape } = origin.file.info(tensorName);
      return { ...file.info(tensorName), dtype, shape };
    },
    read(tensorName) {
      const stored = file.read(tensorName);
      const from = origin.file.read(tensorName);
      if (!(stored.data instanceof Uint8Array) || !isFloat(from.dtype)) {
        throw malformed(name, `tensor "${tensorName}" must be bytes, got ${stored.dtype}`);
      }
      return floatTensor(from.dtype, from.shape, codec.decode(stored.data, single(from), from.shape));
    },
  };
}

/** Bytes on the wire per group of tensors, without the header. */
export function bytesByGroup(
  file: SafetensorsFile,
  groupOf: (name: string) => string,
): Record<string, number> {
  const bytes: Record<string, number> = {};
  for (const name of file.names) {
    const { begin, end } = file.info(name);
    bytes[groupOf(name)] = (bytes[groupOf(name)] ?? 0) + end - begin;
  }
  return bytes;
}

/** @throws FedloomError F3012 for the first element whose `result` float32 cannot hold */
function requireRange(
  codec: Codec,
  name: string,
  from: Float32Array,
  values: Float32Array,
  result: Float32Array,
): void {
  let bad = 0;
  while (bad < result.length && Number.isFinite(result[bad])) bad++;
  if (bad === result.length) return;
  throw new FedloomError(
    "F3012",
    `Cannot encode tensor "${name}" with codec "${codec.name}": element ${bad} was ${from[bad]} and became ${values[bad]}`,
    { codec: codec.name, tensor: name },
  );
}

function single(source: Tensor): Float32Array {
  const values = floats(source);
  return values instanceof Float32Array ? values : Float32Array.from(values);
}

function plus(values: Float32Array, memory: Tensor | undefined, shape: readonly number[]): Float32Array {
  if (memory === undefined || !sameShape(memory.shape, shape)) return values;
  return addTo(values, single(memory));
}
