/**
 * Chance as a value. There is no global generator: every use derives its own from the run's seed and a
 * path of labels ("sampling", round, client), so that the numbers one part draws never shift another's,
 * and a restart draws the same again.
 *
 * Generator: xoshiro128** (Blackman and Vigna 2021, https://prng.di.unimi.it/xoshiro128starstar.c),
 * period 2^128 - 1. Its 128 bits of state are the head of SHA-256 over the seed and the labels.
 * Not for secrets.
 */
import { createHash } from "node:crypto";

export interface Rng {
  /** An independent generator for a part of the work; the same labels always give the same one. */
  fork(...labels: readonly (string | number)[]): Rng;
  /** Uniform integer in [0, 2^32). */
  uint32(): number;
  /** Uniform in [0, 1), 53 bits. */
  uniform(): number;
  /** Uniform integer in [0, n), without bias. @throws RangeError unless n is an integer in [1, 2^32] */
  below(n: number): number;
  /** Standard normal, by the polar method (Marsaglia and Bray 1964). */
  normal(): number;
  /** A new array in random order (Fisher-Yates). */
  shuffle<T>(items: readonly T[]): T[];
  /** `count` different items in random order. @throws RangeError if there are fewer */
  sample<T>(items: readonly T[], count: number): T[];
}

/** @param seed any integer or text; 1 and "1" are the same seed */
export function createRng(seed: number | bigint | string): Rng {
  return generator([String(seed)]);
}

function generator(path: readonly string[]): Rng {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let spare: number | undefined;

  const seed = (): void => {
    // Lengths in front keep ("ab", "c") and ("a", "bc") apart.
    const hash = createHash("sha256");
    for (const part of path) hash.update(`${Buffer.byteLength(part)}:${part}`);
    const head = hash.digest();
    a = head.readUInt32LE(0);
    b = head.readUInt32LE(4);
    c = head.readUInt32LE(8);
    d = head.readUInt32LE(12) | 1; // an all-zero state would stay zero
  };
  const uint32 = (): number => {
    // Seeded when first drawn from, since most are only forked; no state in between is all zero.
    if ((a | b | c | d) === 0) seed();
    const scrambled = Math.imul(b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  const uniform = (): number => ((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) / 2 ** 53;
  const below = (n: number): number => {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32)
      throw new RangeError(`below() takes 1 to 2^32, got ${n}`);
    // The last, incomplete run of n values is drawn again: without that, small results come more often.
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const drawn = uint32();
      if (drawn < limit) return drawn % n;
    }
  };
  const sample = <T>(items: readonly T[], count: number): T[] => {
    if (count > items.length) throw new RangeError(`Cannot sample ${count} of ${items.length} items`);
    const pool = [...items];
    for (let i = 0; i < count; i++) {
      const j = i + below(pool.length - i);
      [pool[i], pool[j]] = [pool[j]!, pool[i]!];
    }
    return pool.slice(0, count);
  };

  return {
    fork: (...labels) => generator([...path, ...labels.map(String)]),
    uint32,
    uniform,
    below,
    normal() {
      if (spare !== undefined) {
        const kept = spare;
        spare = undefined;
        return kept;
      }
      for (;;) {
        const u = 2 * uniform() - 1;
        const v = 2 * uniform() - 1;
        const s = u * u + v * v;
        if (s >= 1 || s === 0) continue;
        const f = Math.sqrt((-2 * Math.log(s)) / s);
        spare = v * f;
        return u * f;
      }
    },
    shuffle: (items) => sample(items, items.length),
    sample,
  };
}
