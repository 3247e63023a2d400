/** What CPython makes of a seed before MT19937 sees it. Source: Lib/random.py and Modules/_randommodule.c, 3.10 */
import { createHash } from "node:crypto";

export type PythonSeed = number | bigint | string | Uint8Array;

/**
 * The words that init_by_array takes: an integer's absolute value cut into 32-bit words, least significant first;
 * text and bytes followed by their SHA-512 and read as one big-endian integer; other numbers by their hash.
 */
export function seedWords(seed: PythonSeed): number[] {
  let value = seedInteger(seed);
  if (value < 0n) value = -value;
  const words: number[] = [];
  do {
    words.push(Number(value & 0xffffffffn));
    value >>= 32n;
  } while (value > 0n);
  return words;
}

function seedInteger(seed: PythonSeed): bigint {
  if (typeof seed === "bigint") return seed;
  if (typeof seed === "number") {
    return Number.isInteger(seed) ? BigInt(seed) : BigInt.asUintN(64, hashOfFloat(seed));
  }
  const bytes = typeof seed === "string" ? Buffer.from(seed, "utf8") : Buffer.from(seed);
  const digest = createHash("sha512").update(bytes).digest("hex");
  return BigInt(`0x${bytes.toString("hex")}${digest}`);
}

/** CPython hashes numbers modulo this prime. */
const MODULUS = 2n ** 61n - 1n;

/** hash() of a finite float: its exact value m·2^e modulo the prime. Source: Python/pyhash.c */
function hashOfFloat(value: number): bigint {
  if (!Number.isFinite(value)) throw new RangeError(`A seed must be finite, got ${value}`);
  let mantissa = Math.abs(value);
  let exponent = 0;
  while (!Number.isInteger(mantissa)) {
    mantissa *= 2;
    exponent--;
  }
  // 2^61 = 1 modulo the prime, so 2^-k = 2^(61 - k mod 61).
  const power = BigInt(((exponent % 61) + 61) % 61);
  const hash = (BigInt(mantissa) * 2n ** power) % MODULUS;
  if (value >= 0) return hash;
  return hash === 1n ? -2n : -hash;
}
