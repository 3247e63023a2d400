/**
 * numpy's legacy RandomState: same seed, same calls, same answers.
 *
 * Integers and orders are exact. What goes through log, exp, pow or sqrt may differ in the last digit, as it
 * does between two C libraries.
 *
 * Source: numpy/random/mtrand.pyx and src/legacy/legacy-distributions.c of numpy 1.26; each method names its algorithm
 */
import { MersenneTwister } from "../mersenne-twister.ts";
import { binomial } from "./binomial.ts";
import { poisson } from "./poisson.ts";

export class RandomState {
  readonly #twister = new MersenneTwister();
  #spareNormal: number | undefined;
  readonly #double = (): number => this.#twister.double();

  constructor(seed: number | readonly number[]) {
    this.seed(seed);
  }

  /** One word by init_genrand, several by init_by_array. @throws RangeError for what numpy refuses */
  seed(seed: number | readonly number[]): void {
    const words = typeof seed === "number" ? [seed] : seed;
    if (words.length === 0 || !words.every((word) => Number.isInteger(word) && word >= 0 && word < 2 ** 32)) {
      throw new RangeError(`A numpy seed is one or more integers from 0 to 2^32 - 1, got ${String(seed)}`);
    }
    if (typeof seed === "number") this.#twister.seedWord(seed);
    else this.#twister.seedWords(seed);
    this.#spareNormal = undefined;
  }

  uint32(): number {
    return this.#twister.uint32();
  }

  /** random_sample: uniform in [0, 1), 53 bits. */
  double(): number {
    return this.#twister.double();
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.double();
  }

  /** Polar method (Marsaglia and Bray 1964); the second value waits, across other calls. */
  standardNormal(): number {
    if (this.#spareNormal !== undefined) {
      const kept = this.#spareNormal;
      this.#spareNormal = undefined;
      return kept;
    }
    for (;;) {
      const u = 2 * this.double() - 1;
      const v = 2 * this.double() - 1;
      const r = u * u + v * v;
      if (r >= 1 || r === 0) continue;
      const f = Math.sqrt((-2 * Math.log(r)) / r);
      this.#spareNormal = f * u;
      return f * v;
    }
  }

  normal(mean: number, std: number): number {
    return mean + std * this.standardNormal();
  }

  standardExponential(): number {
    return -Math.log(1 - this.double());
  }

  exponential(scale: number): number {
    return scale * this.standardExponential();
  }

  /** Marsaglia and Tsang 2000 above 1, Ahrens and Dieter 1974 (GS) below. */
  standardGamma(shape: number): number {
    if (shape === 1) return this.standardExponential();
    if (shape === 0) return 0;
    return shape < 1 ? this.#gammaBelowOne(shape) : this.#gammaAboveOne(shape);
  }

  #gammaBelowOne(shape: number): number {
    for (;;) {
      const u = this.double();
      const v = this.standardExponential();
      if (u <= 1 - shape) {
        const x = u ** (1 / shape);
        if (x <= v) return x;
      } else {
        const y = -Math.log((1 - u) / shape);
        const x = (1 - shape + shape * y) ** (1 / shape);
        if (x <= v + y) return x;
      }
    }
  }

  #gammaAboveOne(shape: number): number {
    const b = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * b);
    for (;;) {
      let x: number;
      let v: number;
      do {
        x = this.standardNormal();
        v = 1 + c * x;
      } while (v <= 0);
      v = v * v * v;
      const u = this.double();
      if (u < 1 - 0.0331 * (x * x) * (x * x)) return b * v;
      if (Math.log(u) < 0.5 * x * x + b * (1 - v + Math.log(v))) return b * v;
    }
  }

  gamma(shape: number, scale: number): number {
    return scale * this.standardGamma(shape);
  }

  chisquare(degrees: number): number {
    return 2 * this.standardGamma(degrees / 2);
  }

  /** Jöhnk 1964 where both are at most 1, else from two gammas. */
  beta(a: number, b: number): number {
    if (a > 1 || b > 1) {
      const x = this.standardGamma(a);
      return x / (x + this.standardGamma(b));
    }
    for (;;) {
      const u = this.double();
      const v = this.double();
      const x = u ** (1 / a);
      const y = v ** (1 / b);
      if (x + y > 1) continue;
      if (x + y > 0) return x / (x + y);
      const logX = Math.log(u) / a;
      const logY = Math.log(v) / b;
      const most = Math.max(logX, logY);
      return Math.exp(logX - most - Math.log(Math.exp(logX - most) + Math.exp(logY - most)));
    }
  }

  /** One gamma per entry, in order, over their sum. */
  dirichlet(alpha: readonly number[]): number[] {
    const gammas = alpha.map((shape) => this.standardGamma(shape));
    const inverse = 1 / gammas.reduce((sum, gamma) => sum + gamma, 0);
    return gammas.map((gamma) => gamma * inverse);
  }

  binomial(n: number, p: number): number {
    return binomial(this.#double, n, p);
  }

  poisson(lambda: number): number {
    return poisson(this.#double, lambda);
  }

  /** Binomials of what is left, class by class. */
  multinomial(n: number, p: readonly number[]): number[] {
    const counts: number[] = new Array(p.length).fill(0);
    let left = n;
    let rest = 1;
    for (let i = 0; i < p.length - 1 && left > 0; i++) {
      counts[i] = this.binomial(left, p[i]! / rest);
      left -= counts[i]!;
      rest -= p[i]!;
    }
    if (left > 0) counts[p.length - 1] = left;
    return counts;
  }

  /** Uniform integer in [low, high): masked words, drawn again while too large; no draw for a single value. */
  randint(low: number, high: number): number {
    return low + this.#interval(high - low - 1);
  }

  /** Uniform in [0, max]. */
  #interval(max: number): number {
    if (max === 0) return 0;
    if (max < 2 ** 32) {
      const mask = 0xffffffff >>> Math.clz32(max);
      for (;;) {
        const drawn = (this.uint32() & mask) >>> 0;
        if (drawn <= max) return drawn;
      }
    }
    const top = BigInt(max);
    const mask = (1n << BigInt(top.toString(2).length)) - 1n;
    for (;;) {
      const word = (BigInt(this.uint32()) << 32n) | BigInt(this.uint32());
      if ((word & mask) <= top) return Number(word & mask);
    }
  }

  /** Fisher-Yates from the end, in place. */
  shuffle(items: unknown[]): void {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.#interval(i);
      [items[i], items[j]] = [items[j], items[i]];
    }
  }

  permutation(n: number): number[] {
    const order = Array.from({ length: n }, (_, i) => i);
    this.shuffle(order);
    return order;
  }

  /** Indices below n. Without replacement: the head of a permutation. */
  choice(n: number, size: number, options: { replace: boolean }): number[] {
    if (options.replace) return Array.from({ length: size }, () => this.randint(0, n));
    if (size > n) throw new RangeError(`Cannot choose ${size} of ${n} without replacement`);
    return this.permutation(n).slice(0, size);
  }

  /** Indices by probability: bisection of the running sums; without replacement, rounds of what is still wanted. */
  weightedChoice(p: readonly number[], size: number, options: { replace: boolean }): number[] {
    if (options.replace) {
      const draws = Array.from({ length: size }, () => this.double());
      return draws.map(bisector(p));
    }
    const left = [...p];
    const found: number[] = [];
    while (found.length < size) {
      const draws = Array.from({ length: size - found.length }, () => this.double());
      for (const index of found) left[index] = 0;
      found.push(...new Set(draws.map(bisector(left))));
    }
    return found;
  }
}

/** searchsorted(cumsum(p) / sum(p), x, side="right") */
function bisector(p: readonly number[]): (x: number) => number {
  let total = 0;
  const sums = p.map((weight) => (total += weight)).map((sum, _, all) => sum / all.at(-1)!);
  return (x) => sums.findIndex((sum) => x < sum);
}
