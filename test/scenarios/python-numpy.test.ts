/** What the generators refuse, and properties; their numbers are compared in test/golden/partitions.test.ts. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PythonRandom } from "../../scenarios/cpython/random.ts";
import { setDifferenceOrder } from "../../scenarios/cpython/set-order.ts";
import { RandomState } from "../../scenarios/numpy/random-state.ts";

test("impossible requests throw as the originals raise", () => {
  const random = new PythonRandom(1);
  expect(() => random.below(0)).toThrow(RangeError);
  expect(() => random.randrange(5, 5)).toThrow("The range from 5 to 5 by 1 is empty");
  expect(() => random.sample([1, 2], 3)).toThrow("Cannot sample 3 of 2 items");
  expect(() => new PythonRandom(Number.NaN)).toThrow("A seed must be finite");
  expect(() => new RandomState([])).toThrow(RangeError);
  expect(() => new RandomState(1).choice(3, 4, { replace: false })).toThrow("Cannot choose 4 of 3");
});

test("seeding anew starts over and forgets the spare normal", () => {
  const random = new PythonRandom(7);
  const first = [random.gauss(0, 1), random.random()];
  random.gauss(0, 1);
  random.seed(7);
  expect([random.gauss(0, 1), random.random()]).toEqual(first);
});

test("a set difference lists each number once, whatever is removed", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 200 }), fc.array(fc.nat(199)), (n, removed) => {
      const gone = [...new Set(removed)].filter((number) => number < n);
      const order = setDifferenceOrder(n, gone);
      const left = Array.from({ length: n }, (_, i) => i).filter((i) => !gone.includes(i));
      expect([...order].sort((a, b) => a - b)).toEqual(left);
    }),
    { seed: 11 },
  );
});

test("a binomial draw stays within its range at the borders", () => {
  const state = new RandomState(3);
  for (const [n, p] of [
    [0, 0.5],
    [7, 0],
    [7, 1],
    [1000, 1],
  ] as const) {
    expect(state.binomial(n, p)).toBe(p === 1 ? n : 0);
  }
});
