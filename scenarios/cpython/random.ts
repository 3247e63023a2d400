/**
 * CPython's `random.Random`: same seed, same calls, same answers.
 *
 * Integers and orders are exact. What goes through log, exp or sin may differ in the last digit, as it does
 * between two C libraries.
 *
 * Source: Lib/random.py and Modules/_randommodule.c of CPython 3.10; each method names its algorithm
 */
import { MersenneTwister } from "../mersenne-twister.ts";
import { type PythonSeed, seedWords } from "./seed.ts";

const NORMAL_MAGIC = (4 * Math.exp(-0.5)) / Math.sqrt(2);
const GAMMA_MAGIC = 1 + Math.log(4.5);

export class PythonRandom {
  readonly #twister = new MersenneTwister();
  #spareGauss: number | undefined;

  constructor(seed: PythonSeed) {
    this.seed(seed);
  }

  seed(seed: PythonSeed): void {
    this.#twister.seedWords(seedWords(seed));
    this.#spareGauss = undefined;
  }

  /** Uniform in [0, 1), 53 bits. */
  random(): number {
    return this.#twister.double();
  }

  /** Words from the least significant end, the last one shortened by a shift. @param k at least 1 */
  getrandbits(k: number): bigint {
    let result = 0n;
    for (let at = 0; at < k; at += 32) {
      const bits = Math.min(32, k - at);
      result |= BigInt(this.#twister.uint32() >>> (32 - bits)) << BigInt(at);
    }
    return result;
  }

  /** `_randbelow_with_getrandbits`: as many bits as n has, drawn again while not below n. */
  below(n: number): number {
    if (!Number.isSafeInteger(n) || n < 1) throw new RangeError(`below() takes a positive integer, got ${n}`);
    if (n >= 2 ** 32) return Number(this.#belowBig(BigInt(n)));
    const shift = Math.clz32(n);
    for (;;) {
      const drawn = this.#twister.uint32() >>> shift;
      if (drawn < n) return drawn;
    }
  }

  #belowBig(n: bigint): bigint {
    const bits = n.toString(2).length;
    for (;;) {
      const drawn = this.getrandbits(bits);
      if (drawn < n) return drawn;
    }
  }

  randrange(start: number, stop: number, step = 1): number {
    const count = Math.ceil((stop - start) / step);
    if (!(count > 0)) throw new RangeError(`The range from ${start} to ${stop} by ${step} is empty`);
    return start + step * this.below(count);
  }

  /** Both ends included. */
  randint(low: number, high: number): number {
    return this.randrange(low, high + 1);
  }

  choice<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** With replacement; by bisection of the running sums where weights are given. */
  choices<T>(items: readonly T[], k: number, weights?: readonly number[]): T[] {
    if (weights === undefined) {
      return Array.from({ length: k }, () => items[Math.floor(this.random() * items.length)]!);
    }
    let total = 0;
    const sums = weights.map((weight) => (total += weight));
    return Array.from({ length: k }, () => {
      const at = this.random() * total;
      const found = sums.findIndex((sum) => at < sum);
      return items[found < 0 || found >= items.length ? items.length - 1 : found]!;
    });
  }

  /** Fisher-Yates from the end, in place. */
  shuffle(items: unknown[]): void {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
  }

  /** From a pool where that is small, else by redrawing positions already taken. @throws RangeError if k > length */
  sample<T>(items: readonly T[], k: number): T[] {
    const n = items.length;
    if (k < 0 || k > n) throw new RangeError(`Cannot sample ${k} of ${n} items`);
    const poolLimit = 21 + (k > 5 ? 4 ** Math.ceil(Math.log(k * 3) / Math.log(4)) : 0);
    if (n <= poolLimit) {
      const pool = [...items];
      return Array.from({ length: k }, (_, i) => {
        const j = this.below(n - i);
        const taken = pool[j]!;
        pool[j] = pool[n - i - 1]!;
        return taken;
      });
    }
    const taken = new Set<number>();
    return Array.from({ length: k }, () => {
      let j = this.below(n);
      while (taken.has(j)) j = this.below(n);
      taken.add(j);
      return items[j]!;
    });
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.random();
  }

  /** Box and Muller 1958, both values used: the sine part waits for the next call. */
  gauss(mu: number, sigma: number): number {
    let z = this.#spareGauss;
    this.#spareGauss = undefined;
    if (z === undefined) {
      const angle = this.random() * 2 * Math.PI;
      const radius = Math.sqrt(-2 * Math.log(1 - this.random()));
      z = Math.cos(angle) * radius;
      this.#spareGauss = Math.sin(angle) * radius;
    }
    return mu + z * sigma;
  }

  /** Ratio of uniforms, Kinderman and Monahan 1977. */
  normalvariate(mu: number, sigma: number): number {
    for (;;) {
      const u = this.random();
      const v = 1 - this.random();
      const z = (NORMAL_MAGIC * (u - 0.5)) / v;
      if ((z * z) / 4 <= -Math.log(v)) return mu + z * sigma;
    }
  }

  lognormvariate(mu: number, sigma: number): number {
    return Math.exp(this.normalvariate(mu, sigma));
  }

  expovariate(rate: number): number {
    return -Math.log(1 - this.random()) / rate;
  }

  triangular(low: number, high: number, mode: number): number {
    let u = this.random();
    let c = (mode - low) / (high - low);
    let [from, to] = [low, high];
    if (u > c) {
      u = 1 - u;
      c = 1 - c;
      [from, to] = [to, from];
    }
    return from + (to - from) * Math.sqrt(u * c);
  }

  /** Cheng 1977 for alpha > 1, Ahrens and Dieter 1974 (GS) below 1. @param beta the scale */
  gammavariate(alpha: number, beta: number): number {
    if (alpha > 1) return this.#gammaAboveOne(alpha) * beta;
    if (alpha === 1) return -Math.log(1 - this.random()) * beta;
    for (;;) {
      const b = (Math.E + alpha) / Math.E;
      const p = b * this.random();
      const x = p <= 1 ? p ** (1 / alpha) : -Math.log((b - p) / alpha);
      const u = this.random();
      if (p > 1 ? u <= x ** (alpha - 1) : u <= Math.exp(-x)) return x * beta;
    }
  }

  #gammaAboveOne(alpha: number): number {
    const a = Math.sqrt(2 * alpha - 1);
    const b = alpha - Math.log(4);
    const c = alpha + a;
    for (;;) {
      const u1 = this.random();
      if (u1 <= 1e-7 || u1 >= 0.9999999) continue;
      const u2 = 1 - this.random();
      const v = Math.log(u1 / (1 - u1)) / a;
      const x = alpha * Math.exp(v);
      const z = u1 * u1 * u2;
      const r = b + c * v - x;
      if (r + GAMMA_MAGIC - 4.5 * z >= 0 || r >= Math.log(z)) return x;
    }
  }

  betavariate(alpha: number, beta: number): number {
    const y = this.gammavariate(alpha, 1);
    return y === 0 ? 0 : y / (y + this.gammavariate(beta, 1));
  }
}
