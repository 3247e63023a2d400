/**
 * Numbers that are not negative in 8 bits, by their logarithm: for squares, such as Fisher information, whose sizes span
 * many powers of ten and whose ratios are what counts.
 *
 *   code 0 is 0; code c ≥ 1 is least · (most / least)^((c − 1) / 254)      least, most: of the block's positive values
 *
 * Rounded to the nearest code, every value is off by a factor of (most / least)^(1/508) at most: 2.8 % where a block of
 * 256 spans a factor of a million, 5.6 % for a million squared. Zeros stay zeros, and where all are alike nothing is lost.
 *
 * Bytes: least and most as float32 for each block, then the codes.
 */
import { bytesOf, floatsAt, malformed, requireBytes } from "./codec.ts";

/** One outlier widens the range of its block alone; the two bounds cost 3.1 %. */
const BLOCK = 256;
/** Codes from 1 to 255 span a block's range. */
const STEPS = 254;

/** @throws RangeError for a value that is negative or not finite */
export function encodeLog8(values: Float32Array): Uint8Array {
  const blocks = Math.ceil(values.length / BLOCK);
  const bounds = new Float32Array(2 * blocks);
  const codes = new Uint8Array(values.length);
  for (let block = 0; block < blocks; block++) {
    const [from, to] = [block * BLOCK, Math.min(values.length, (block + 1) * BLOCK)];
    let [least, most] = [Number.POSITIVE_INFINITY, 0];
    for (let i = from; i < to; i++) {
      const x = values[i]!;
      if (!(x >= 0 && x < Number.POSITIVE_INFINITY)) {
        throw new RangeError(`Only finite numbers from 0 on have a logarithmic code, got ${x}`);
      }
      if (x > most) most = x;
      if (x > 0 && x < least) least = x;
    }
    if (most === 0) continue;
    bounds[2 * block] = least;
    bounds[2 * block + 1] = most;
    const scale = least === most ? 0 : STEPS / Math.log(most / least);
    for (let i = from; i < to; i++) {
      const x = values[i]!;
      if (x > 0) codes[i] = 1 + Math.round(scale * Math.log(x / least));
    }
  }
  return Buffer.concat([bytesOf(bounds), codes]);
}

/** @throws FedloomError F3009 for bytes that `encodeLog8` cannot have made for so many values */
export function decodeLog8(bytes: Uint8Array, length: number): Float32Array {
  const blocks = Math.ceil(length / BLOCK);
  requireBytes("log8", bytes, 8 * blocks + length);
  const bounds = floatsAt(bytes, 0, 2 * blocks);
  const codes = bytes.subarray(8 * blocks);
  const values = new Float32Array(length);
  const meanings = new Float32Array(STEPS + 2);
  for (let block = 0; block < blocks; block++) {
    const [least, most] = [bounds[2 * block]!, bounds[2 * block + 1]!];
    const isSound = least === 0 ? most === 0 : least > 0 && most >= least && most < Number.POSITIVE_INFINITY;
    if (!isSound) throw malformed("log8", `block ${block} cannot range from ${least} to ${most}`);
    const growth = least === 0 ? 0 : Math.log(most / least) / STEPS;
    for (let c = 1; c < meanings.length; c++) meanings[c] = least * Math.exp(growth * (c - 1));
    meanings[STEPS + 1] = most; // exactly, as the least is
    const to = Math.min(length, (block + 1) * BLOCK);
    for (let i = block * BLOCK; i < to; i++) values[i] = meanings[codes[i]!]!;
  }
  return values;
}
