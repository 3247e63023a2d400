/**
 * Gaussian noise that only the holder of a secret can subtract again.
 *
 * The run's seed is no secret: whoever knows it could compute noise made from it and take it away. Here it comes from
 * AES-256 in counter mode under a key made of a secret and of what the noise is for, so that a coordinator that keeps
 * the secret in its state still makes the same noise again after a restart.
 *
 * Not defended: what the low bits of float64 arithmetic tell (Mironov 2012, https://doi.org/10.1145/2382196.2382264).
 */
import { createCipheriv, createHmac } from "node:crypto";

/** Whatever draws standard normal numbers; base/rng's generators do too, for noise that promises nothing. */
export interface NormalSource {
  normal(): number;
}

/** As long as the key of the hash that derives from it. */
export const SECRET_BYTES = 32;

const BLOCK_BYTES = 65_536;

/**
 * @param secret SECRET_BYTES from a cryptographic generator, kept where only the coordinator reads
 * @param labels what the noise is for: run, round, tensor; never the same for two uses
 */
export function secretNoise(secret: Uint8Array, ...labels: readonly (string | number)[]): NormalSource {
  if (secret.length !== SECRET_BYTES)
    throw new RangeError(`A secret has ${SECRET_BYTES} bytes, got ${secret.length}`);
  const key = createHmac("sha256", secret)
    .update(JSON.stringify(labels.map(String)))
    .digest();
  const cipher = createCipheriv("aes-256-ctr", key, new Uint8Array(16));
  const zeros = new Uint8Array(BLOCK_BYTES);
  let block = new DataView(new ArrayBuffer(0));
  let at = 0;
  const uniform = (): number => {
    if (at === block.byteLength) {
      const bytes = cipher.update(zeros);
      block = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      at = 0;
    }
    const high = block.getUint32(at) >>> 5;
    const low = block.getUint32(at + 4) >>> 6;
    at += 8;
    return (high * 2 ** 26 + low + 0.5) / 2 ** 53; // never 0, so that its logarithm is finite
  };
  let spare: number | undefined;
  return {
    /** Box and Muller 1958. */
    normal() {
      if (spare !== undefined) {
        const kept = spare;
        spare = undefined;
        return kept;
      }
      const radius = Math.sqrt(-2 * Math.log(uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
  };
}

/**
 * @param noiseStd standard deviation per coordinate (noise multiplier × sensitivity), not the variance
 * @returns a new array
 * @throws RangeError if `noiseStd` is negative or not finite
 */
export function addNoise(values: Float64Array, noiseStd: number, source: NormalSource): Float64Array {
  if (!(noiseStd >= 0 && noiseStd < Number.POSITIVE_INFINITY)) {
    throw new RangeError(`A standard deviation is at least 0 and finite, got ${noiseStd}`);
  }
  return noiseStd === 0 ? values.slice() : values.map((value) => value + noiseStd * source.normal());
}
