import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createRng } from "../../base/rng.ts";

/** xoshiro128** written down a second time, in 64-bit integers, as the authors' C code reads. */
function reference(state: bigint[]): bigint {
  const mask = 0xffffffffn;
  const rotl = (x: bigint, k: bigint): bigint => ((x << k) | (x >> (32n - k))) & mask;
  const result = (rotl((state[1]! * 5n) & mask, 7n) * 9n) & mask;
  const t = (state[1]! << 9n) & mask;
  state[2]! ^= state[0]!;
  state[3]! ^= state[1]!;
  state[1]! ^= state[2]!;
  state[0]! ^= state[3]!;
  state[2]! ^= t;
  state[3] = rotl(state[3]!, 11n);
  return result;
}

test("the reference above gives the published first outputs of state 1, 2, 3, 4", () => {
  // The vector that the Rust crate rand_xoshiro took from the authors' C code (tests of xoshiro128starstar).
  const state = [1n, 2n, 3n, 4n];
  expect(Array.from({ length: 10 }, () => Number(reference(state)))).toEqual([
    11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
  ]);
});

test("the generator follows the reference from the state that SHA-256 of the seed gives", () => {
  const digest = createHash("sha256").update("2:42").digest();
  const state = [0, 4, 8, 12].map((offset) => BigInt(digest.readUInt32LE(offset)));
  state[3]! |= 1n;
  const rng = createRng(42);
  for (let i = 0; i < 1000; i++) expect(rng.uint32()).toBe(Number(reference(state)));
});

describe("forks", () => {
  const draws = (rng: { uint32(): number }): number[] => Array.from({ length: 8 }, () => rng.uint32());

  test("depend on the seed and the labels alone, not on what was drawn before", () => {
    const rng = createRng("s");
    const before = draws(rng.fork("sampling", 3));
    draws(rng);
    expect(draws(rng.fork("sampling", 3))).toEqual(before);
    expect(draws(createRng("s").fork("sampling").fork(3))).toEqual(before);
  });

  test("of different labels differ, however the letters are spread over them", () => {
    const rng = createRng(1);
    const seen = [rng.fork("ab", "c"), rng.fork("a", "bc"), rng.fork("abc"), rng.fork("abc", ""), rng].map(
      (r) => draws(r).join(),
    );
    expect(new Set(seen).size).toBe(seen.length);
  });

  test("are not correlated with their parent or with one another", () => {
    const parent = createRng(7);
    const [a, b] = [parent.fork("a"), parent.fork("b")];
    const n = 20_000;
    const sums = { pa: 0, ab: 0 };
    for (let i = 0; i < n; i++) {
      const [p, x, y] = [parent.uniform() - 0.5, a.uniform() - 0.5, b.uniform() - 0.5];
      sums.pa += p * x;
      sums.ab += x * y;
    }
    // A mean of n products of independent uniforms has standard deviation 1/(12 sqrt n); five of them.
    const bound = 5 / (12 * Math.sqrt(n));
    expect(Math.abs(sums.pa / n)).toBeLessThan(bound);
    expect(Math.abs(sums.ab / n)).toBeLessThan(bound);
  });
});

test("below(n) favors no value", () => {
  const rng = createRng("bias");
  const [n, draws] = [7, 70_000];
  const counts = new Array<number>(n).fill(0);
  for (let i = 0; i < draws; i++) counts[rng.below(n)]!++;
  const chiSquare = counts.reduce((sum, count) => sum + (count - draws / n) ** 2 / (draws / n), 0);
  expect(chiSquare).toBeLessThan(22.46); // 99.9 % of chi-square with 6 degrees of freedom
});

test("below(n) redraws the incomplete run at the top: n = 3 * 2^30 would else favor the lowest third", () => {
  const rng = createRng("top");
  const n = 3 * 2 ** 30;
  let lowest = 0;
  const draws = 30_000;
  for (let i = 0; i < draws; i++) if (rng.below(n) < 2 ** 30) lowest++;
  // Fair: 1/3. A plain remainder would give 1/2. Five standard deviations of a fair count.
  expect(Math.abs(lowest / draws - 1 / 3)).toBeLessThan(5 * Math.sqrt(2 / 9 / draws));
});

test.each([0, -1, 1.5, 2 ** 32 + 1, Number.NaN])("below(%s) is refused", (n) => {
  expect(() => createRng(1).below(n)).toThrow(RangeError);
});

test("uniform() stays in [0, 1)", () => {
  const rng = createRng("u");
  for (let i = 0; i < 10_000; i++) {
    const value = rng.uniform();
    expect(value >= 0 && value < 1).toBe(true);
  }
});

test("normal() has mean 0, variance 1 and no excess kurtosis", () => {
  const rng = createRng("n");
  const n = 50_000;
  let [m1, m2, m4] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const x = rng.normal();
    m1 += x / n;
    m2 += x ** 2 / n;
    m4 += x ** 4 / n;
  }
  // Standard deviations of these sample moments: 1, sqrt 2 and sqrt 96, each over sqrt n; five of them.
  const sd = 1 / Math.sqrt(n);
  expect(Math.abs(m1)).toBeLessThan(5 * sd);
  expect(Math.abs(m2 - 1)).toBeLessThan(5 * Math.SQRT2 * sd);
  expect(Math.abs(m4 - 3)).toBeLessThan(5 * Math.sqrt(96) * sd);
});

test("shuffle keeps every item and leaves its input alone", () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), fc.string(), (items, seed) => {
      const before = [...items];
      const shuffled = createRng(seed).shuffle(items);
      expect(items).toEqual(before);
      expect([...shuffled].sort((a, b) => a - b)).toEqual([...before].sort((a, b) => a - b));
    }),
  );
});

test("shuffle gives each of the six orders of three items equally often", () => {
  const rng = createRng("orders");
  const counts = new Map<string, number>();
  const n = 12_000;
  for (let i = 0; i < n; i++) {
    const order = rng.shuffle([1, 2, 3]).join("");
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - n / 6) ** 2 / (n / 6), 0);
  expect(counts.size).toBe(6);
  expect(chiSquare).toBeLessThan(20.52); // 99.9 % of chi-square with 5 degrees of freedom
});

test("sample takes different items, and refuses to take more than there are", () => {
  const taken = createRng(3).sample([..."abcdefgh"], 5);
  expect(new Set(taken).size).toBe(5);
  expect(() => createRng(3).sample([1, 2], 3)).toThrow(RangeError);
});
