/**
 * MT19937, the generator under CPython's `random` and numpy's legacy RandomState.
 *
 * Source: Matsumoto and Nishimura 1998 and their mt19937ar.c of 2002
 */
const N = 624;
const M = 397;

export class MersenneTwister {
  readonly #words = new Uint32Array(N);
  #next = N;

  /** init_genrand of mt19937ar.c. */
  seedWord(seed: number): void {
    const w = this.#words;
    w[0] = seed;
    for (let i = 1; i < N; i++) {
      const before = w[i - 1]! ^ (w[i - 1]! >>> 30);
      w[i] = Math.imul(1812433253, before) + i;
    }
    this.#next = N;
  }

  /** init_by_array of mt19937ar.c. @param key at least one 32-bit word */
  seedWords(key: readonly number[]): void {
    this.seedWord(19650218);
    const w = this.#words;
    let i = 1;
    let j = 0;
    const step = (): void => {
      i++;
      if (i >= N) {
        w[0] = w[N - 1]!;
        i = 1;
      }
    };
    for (let k = Math.max(N, key.length); k > 0; k--) {
      const before = w[i - 1]! ^ (w[i - 1]! >>> 30);
      w[i] = (w[i]! ^ Math.imul(before, 1664525)) + key[j]! + j;
      j = (j + 1) % key.length;
      step();
    }
    for (let k = N - 1; k > 0; k--) {
      const before = w[i - 1]! ^ (w[i - 1]! >>> 30);
      w[i] = (w[i]! ^ Math.imul(before, 1566083941)) - i;
      step();
    }
    w[0] = 0x80000000;
  }

  /** Uniform in [0, 2^32). */
  uint32(): number {
    if (this.#next >= N) this.#twist();
    let y = this.#words[this.#next++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** Uniform in [0, 1) with 53 bits: genrand_res53. */
  double(): number {
    const high = this.uint32() >>> 5;
    return (high * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53;
  }

  #twist(): void {
    const w = this.#words;
    for (let k = 0; k < N; k++) {
      const y = (w[k]! & 0x80000000) | (w[(k + 1) % N]! & 0x7fffffff);
      w[k] = w[(k + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#next = 0;
  }
}
