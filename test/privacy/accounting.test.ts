import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { calibrate, guaranteeOf, type NoisyRounds, type Sampling } from "../../privacy/accountant.ts";
import {
  composedSigma,
  gaussianDelta,
  gaussianEpsilon,
  gaussianSigma,
} from "../../privacy/analytic-gaussian.ts";
import { fixedSizeGaussianDivergences } from "../../privacy/fixed-size-gaussian.ts";
import { logNormalCdf } from "../../privacy/normal.ts";
import { poissonGaussianDivergence } from "../../privacy/poisson-gaussian.ts";
import { epsilonOf, ORDERS } from "../../privacy/renyi-orders.ts";

/** Float64 sums of some hundred positive terms. */
const ROUNDING = 1e-13;

describe("the normal distribution function", () => {
  // mpmath 1.3.0, 40 digits: log(erfc(-x / sqrt(2)) / 2)
  test.each([
    [3, -0.0013508099647481938],
    [1, -0.17275377902344988],
    [0.1, -0.6165050101150263],
    [0, -Math.LN2],
    [-0.1, -0.7761545927302733],
    [-1, -1.8410216450092636],
    [-2, -3.783184333682032],
    [-2.9, -6.284058234947419],
    [-5, -15.064998393988725],
    [-10, -53.23128515051247],
    [-38, -726.5572160188201],
  ])("log Phi(%f)", (x, expected) => {
    expect(Math.abs(logNormalCdf(x) - expected)).toBeLessThan(1e-13 * Math.max(1, Math.abs(expected)));
  });
});

describe("Rényi divergence with Poisson sampling", () => {
  // mpmath 1.3.0, 40 digits: log of the integral of N(x; 0, s²) ((1-q) + q e^((2x-1)/(2s²)))^a, over a - 1
  test.each([
    [0.1, 2, 1.1, 0.001523170366529756],
    [0.1, 2, 1.5, 0.0020989345957101767],
    [0.5, 0.8, 1.1, 0.25825953369245347],
    [0.5, 0.8, 2.5, 0.994609531280796],
    [0.01, 1, 1.5, 0.00012725374332744983],
    [0.01, 1, 9.6, 0.00842998751337728],
    [0.001, 0.6, 4.7, 0.0001186585099574893],
    [0.001, 0.6, 1.1, 7.866425388275458e-6],
    [0.5, 2, 2.7, 0.09701730458737182],
    [0.9, 2, 1.3, 0.13265733322716303],
    [0.1, 2, 3, 0.004373658348577058],
  ])("q = %f, sigma = %f, order %f is the integral", (q, sigma, order, expected) => {
    expect(Math.abs(poissonGaussianDivergence(q, sigma, order) / expected - 1)).toBeLessThan(ROUNDING * 10);
  });

  test("grows with the order, with the rate and with less noise, and is the Gaussian's at q = 1", () => {
    const rates = [0, 0.001, 0.1, 0.5, 0.99, 1];
    const sigmas = [8, 4, 2, 1, 0.5];
    const rising = (values: number[]) =>
      values.every((value, i) => i === 0 || value >= values[i - 1]! * (1 - ROUNDING));
    for (const sigma of sigmas) {
      for (const q of rates)
        expect(rising(ORDERS.map((order) => poissonGaussianDivergence(q, sigma, order)))).toBe(true);
      for (const order of [1.5, 7, 64])
        expect(rising(rates.map((q) => poissonGaussianDivergence(q, sigma, order)))).toBe(true);
    }
    for (const order of [1.5, 7, 64])
      expect(rising(sigmas.map((s) => poissonGaussianDivergence(0.1, s, order)))).toBe(true);
    expect(poissonGaussianDivergence(1, 2, 5)).toBe(5 / 8);
    expect(poissonGaussianDivergence(0.999999, 2, 5)).toBeCloseTo(5 / 8, 4);
  });

  test("passes from fractional to integer orders without a step", () => {
    for (const order of [2, 5, 10]) {
      const at = poissonGaussianDivergence(0.2, 1, order);
      expect(Math.abs(poissonGaussianDivergence(0.2, 1, order + 1e-9) / at - 1)).toBeLessThan(1e-7);
    }
  });
});

describe("fixed-size sampling", () => {
  test("costs at least Poisson sampling of the same rate, and at most taking everybody", () => {
    const orders = [2, 4, 8, 16];
    const fixed = fixedSizeGaussianDivergences(100, 10, 2, orders);
    for (const [i, order] of orders.entries()) {
      expect(fixed[i]).toBeGreaterThan(poissonGaussianDivergence(0.1, 2, order));
      expect(fixed[i]).toBeLessThan(order / 8);
    }
  });

  test("between integer orders lies on the line of (order - 1) times the divergence", () => {
    const [low, middle, high] = fixedSizeGaussianDivergences(100, 10, 2, [3, 3.25, 4]);
    expect(2.25 * middle!).toBeCloseTo(0.75 * 2 * low! + 0.25 * 3 * high!, 12);
  });
});

describe("the Gaussian mechanism without sampling", () => {
  test("keeps what it was calibrated for, and delta falls as epsilon rises", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 20, noNaN: true }),
        fc.constantFrom(1e-3, 1e-6, 1e-9),
        (epsilon, delta) => {
          const sigma = gaussianSigma(epsilon, delta);
          expect(gaussianDelta(sigma, epsilon)).toBeLessThanOrEqual(delta);
          expect(Math.abs(gaussianEpsilon(sigma, delta) / epsilon - 1)).toBeLessThan(1e-6);
          expect(gaussianDelta(sigma, 2 * epsilon)).toBeLessThan(delta);
        },
      ),
    );
  });

  test("four rounds are one with half the noise", () => {
    expect(composedSigma([2, 2, 2, 2])).toBe(1);
    expect(composedSigma([3, 6])).toBeCloseTo(1 / Math.sqrt(1 / 9 + 1 / 36), 15);
  });

  test("is never above the Rényi bound on the same rounds", () => {
    for (const sigma of [0.8, 2, 10]) {
      const renyi = epsilonOf(
        ORDERS.map((order) => (50 * order) / (2 * sigma * sigma)),
        1e-5,
      );
      expect(gaussianEpsilon(sigma / Math.sqrt(50), 1e-5)).toBeLessThan(renyi.epsilon);
    }
  });
});

describe("a guarantee", () => {
  const rounds = (sampling: Sampling, noiseMultiplier = 1, count = 10): NoisyRounds => ({
    sampling,
    noiseMultiplier,
    count,
  });
  const poisson = { kind: "poisson", rate: 0.1 } as const;
  const fixed = { kind: "fixed-size", population: 100, sample: 10 } as const;

  test("says what it assumes", () => {
    expect(guaranteeOf([rounds(poisson)], 1e-5)).toMatchObject({
      unit: "client",
      neighbors: "add or remove one",
      sampling: "poisson",
      method: "Rényi (upper bound)",
    });
    expect(guaranteeOf([rounds(fixed)], 1e-5)).toMatchObject({
      neighbors: "replace one",
      sampling: "fixed-size without replacement",
    });
    expect(guaranteeOf([rounds({ kind: "poisson", rate: 1 })], 1e-5)).toMatchObject({
      neighbors: "add or remove one",
      sampling: "everybody",
      method: "analytic Gaussian (exact)",
    });
  });

  test("of no rounds is 0; more rounds cost more, and their order does not matter", () => {
    expect(guaranteeOf([], 1e-5).epsilon).toBe(0);
    expect(guaranteeOf([rounds(poisson, 1, 0)], 1e-5).epsilon).toBe(0);
    const [one, other] = [rounds(poisson, 1, 10), rounds({ kind: "poisson", rate: 0.2 }, 2, 20)];
    const both = guaranteeOf([one, other], 1e-5).epsilon;
    expect(both).toBeGreaterThan(guaranteeOf([one], 1e-5).epsilon);
    expect(guaranteeOf([other, one], 1e-5).epsilon).toBeCloseTo(both, 12);
    expect(guaranteeOf([rounds(poisson, 1, 20)], 1e-5).epsilon).toBeCloseTo(
      guaranteeOf([rounds(poisson, 1, 5), rounds(poisson, 1, 15)], 1e-5).epsilon,
      12,
    );
  });

  test("does not add up rounds with different neighbors", () => {
    expect(() => guaranteeOf([rounds(poisson), rounds(fixed)], 1e-5)).toThrow("other neighbors");
  });

  test.each<[string, () => unknown]>([
    ["a delta of 0", () => guaranteeOf([rounds(poisson)], 0)],
    ["a delta of 1", () => guaranteeOf([rounds(poisson)], 1)],
    ["a rate above 1", () => guaranteeOf([rounds({ kind: "poisson", rate: 1.1 })], 1e-5)],
    ["a negative rate", () => guaranteeOf([rounds({ kind: "poisson", rate: -0.1 })], 1e-5)],
    ["a rate of NaN", () => guaranteeOf([rounds({ kind: "poisson", rate: Number.NaN })], 1e-5)],
    ["no noise", () => guaranteeOf([rounds(poisson, 0)], 1e-5)],
    ["endless noise", () => guaranteeOf([rounds(poisson, Number.POSITIVE_INFINITY)], 1e-5)],
    ["half a round", () => guaranteeOf([rounds(poisson, 1, 0.5)], 1e-5)],
    ["a sample above the population", () => guaranteeOf([rounds({ ...fixed, sample: 101 })], 1e-5)],
    ["a sample of nobody", () => guaranteeOf([rounds({ ...fixed, sample: 0 })], 1e-5)],
    ["an epsilon of 0 to calibrate for", () => calibrate(poisson, 10, 0, 1e-5)],
  ])("refuses %s", (_what, act) => {
    expect(act).toThrow(RangeError);
  });

  test("is kept by the noise that was calibrated for it, with any sampling", () => {
    for (const sampling of [poisson, fixed, { kind: "poisson", rate: 1 } as const]) {
      const noiseMultiplier = calibrate(sampling, 25, 4, 1e-5);
      const { epsilon } = guaranteeOf([{ sampling, noiseMultiplier, count: 25 }], 1e-5);
      expect(epsilon).toBeLessThanOrEqual(4);
      expect(epsilon).toBeGreaterThan(3.999);
    }
  });
});
