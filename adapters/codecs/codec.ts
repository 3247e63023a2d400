/**
 * What a codec is: it makes few bytes of what a client changed in one tensor.
 *
 * Both sides hold the tensor that was handed out (the reference); most codecs send the difference to it, because a
 * difference is small and its rounding error is small with it. `decode` must give the same bits on every machine:
 * float32 additions only, no order of summation.
 */

import { FedloomError } from "../../base/errors.ts";
import type { Rng } from "../../base/rng.ts";

export interface Codec {
  /** What a run file says and an encoded file repeats: "int8", "rows/int4". */
  readonly name: string;
  /**
   * Sends less than was changed, so that what was left out is kept at the client and added the next time
   * (error feedback). Codecs that are right on average do not want it.
   */
  readonly errorFeedback: boolean;
  /** @param rng for stochastic rounding; the same generator gives the same bytes */
  encode(values: Float32Array, reference: Float32Array, shape: readonly number[], rng: Rng): Uint8Array;
  /** @throws FedloomError F3009 for bytes that `encode` cannot have made for this shape */
  decode(bytes: Uint8Array, reference: Float32Array, shape: readonly number[]): Float32Array;
}

export function malformed(codec: string, what: string): FedloomError {
  return new FedloomError("F3009", `Cannot decode an update with codec "${codec}": ${what}`, { codec });
}

/** @throws FedloomError F3009 unless there are exactly so many bytes */
export function requireBytes(codec: string, bytes: Uint8Array, wanted: number): void {
  if (bytes.length !== wanted)
    throw malformed(codec, `a tensor must have ${wanted} bytes, got ${bytes.length}`);
}

// Indexed loops throughout: map and for-of over typed arrays are ten times slower.

export function differenceTo(reference: Float32Array, values: Float32Array): Float32Array {
  const difference = new Float32Array(values.length);
  for (let i = 0; i < difference.length; i++) difference[i] = values[i]! - reference[i]!;
  return difference;
}

export function addTo(reference: Float32Array, difference: Float32Array): Float32Array {
  const values = new Float32Array(reference.length);
  for (let i = 0; i < values.length; i++) values[i] = reference[i]! + difference[i]!;
  return values;
}

/** A copy, aligned for every element type. `slice` is none where the bytes are a Buffer. */
export function copyOf(bytes: Uint8Array, begin = 0, end = bytes.length): ArrayBuffer {
  return new Uint8Array(bytes.subarray(begin, end)).buffer;
}

export function floatsAt(bytes: Uint8Array, offset: number, count: number): Float32Array {
  return new Float32Array(copyOf(bytes, offset, offset + 4 * count));
}

export function bytesOf(data: Float32Array | Uint16Array | Uint32Array | Int8Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
