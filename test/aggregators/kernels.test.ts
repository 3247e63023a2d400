/** The WebAssembly loops against the same sums in JavaScript. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { sortingNetwork } from "../../aggregators/coordinates.ts";
import { createKernels, PART } from "../../aggregators/kernels.ts";
import { createRng } from "../../base/rng.ts";

const LENGTHS = [1, 7, 8, 9, 1000, PART - 1, PART];

function drawn(length: number, seed: string): Float32Array {
  const rng = createRng(seed);
  return Float32Array.from({ length }, () => rng.normal());
}

test.each(LENGTHS)("add gives the bits of sum + share * x for %i elements", (length) => {
  const kernels = createKernels(2);
  const wanted = new Float64Array(length);
  for (const [seed, share] of [
    ["a", 1 / 7],
    ["b", 0.3],
    ["c", 1e-300],
  ] as const) {
    const x = drawn(length, seed);
    kernels.slot(1, length).set(x);
    kernels.add(1, length, share);
    for (let i = 0; i < length; i++) wanted[i] = wanted[i]! + share * x[i]!;
  }
  expect(kernels.sum.slice(0, length)).toEqual(wanted);
  expect(kernels.sum.subarray(length).every((value) => value === 0)).toBe(true);
});

test.each(LENGTHS)(
  "distance sums squared differences of %i elements, whatever lay in the slot before",
  (length) => {
    const kernels = createKernels(2);
    kernels.slot(0, PART).fill(3);
    kernels.slot(1, PART).fill(4);
    const [a, b] = [drawn(length, "a"), drawn(length, "b")];
    kernels.slot(0, length).set(a);
    kernels.slot(1, length).set(b);
    const wanted = a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0);
    // Another order of up to 16384 float64 terms.
    expect(Math.abs(kernels.distance(0, 1, length) / wanted - 1)).toBeLessThan(1e-12);
  },
);

test("distance keeps differences of 1e-4 between weights of 30, which float32 products lose", () => {
  const kernels = createKernels(2);
  kernels.slot(0, PART).fill(30);
  kernels.slot(1, PART).fill(Math.fround(30.0001));
  const step = Math.fround(30.0001) - 30;
  expect(kernels.distance(0, 1, PART) / (PART * step * step)).toBeCloseTo(1, 12);
});

test("exchange puts the smaller values first", () => {
  const kernels = createKernels(2);
  kernels.slot(0, 5).set([5, 1, -1, 0, 2]);
  kernels.slot(1, 5).set([4, 2, -3, 0, 2]);
  kernels.exchange(0, 1, 5);
  expect([...kernels.slot(0, 5)]).toEqual([4, 1, -3, 0, 2]);
  expect([...kernels.slot(1, 5)]).toEqual([5, 2, -1, 0, 2]);
});

test("the network sorts any number of values", () => {
  fc.assert(
    fc.property(fc.array(fc.integer(), { minLength: 1, maxLength: 70 }), (values) => {
      const sorted = [...values];
      for (const [low, high] of sortingNetwork(values.length)) {
        if (sorted[low]! > sorted[high]!) [sorted[low], sorted[high]] = [sorted[high]!, sorted[low]!];
      }
      expect(sorted).toEqual([...values].sort((a, b) => a - b));
    }),
  );
});
