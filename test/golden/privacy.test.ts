/** Privacy accounting against recorded numbers of dp-accounting (test/golden/privacy, or GOLDEN_PRIVACY). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { calibrate, divergencesOf, guaranteeOf, type NoisyRounds } from "../../privacy/accountant.ts";
import { gaussianEpsilon, gaussianSigma } from "../../privacy/analytic-gaussian.ts";
import { poissonGaussianDivergence } from "../../privacy/poisson-gaussian.ts";
import { epsilonOf } from "../../privacy/renyi-orders.ts";

const directory = process.env.GOLDEN_PRIVACY ?? join(import.meta.dirname, "privacy");

/** Both sides are closed forms or converged sums in float64. */
const EXACT = 1e-9;
/** Of ε where the best order is an integer: closed forms on both sides. */
const INTEGER_ORDER = 1e-6;
/**
 * At fractional orders the library cuts an alternating series short, which makes its divergence up to 36 % too large
 * (test/privacy/poisson-gaussian.test.ts has the true values to 16 digits). So ε may come out smaller than the
 * library's, never larger by more than this.
 */
const FRACTIONAL_ORDER = 1e-3;
/** The grid on which the library convolves privacy loss distributions: no honest ε lies below theirs by more. */
const GRID = 1e-3;

const number = z.number();
function rowsOf<Row extends z.ZodType>(file: string, row: Row, key = "rows"): z.output<Row>[] {
  const document = z.record(z.string(), z.unknown()).parse(JSON.parse(readFileSync(join(directory, file), "utf8")));
  const rows = z.array(row).min(1).parse(document[key]);
  console.log(`privacy reference: ${rows.length} ${key} of ${file}`);
  return rows;
}

const poisson = (rate: number, noiseMultiplier: number, count: number): NoisyRounds => ({
  sampling: { kind: "poisson", rate },
  noiseMultiplier,
  count,
});

describe("the divergence of one round", () => {
  const row = z.object({ q: number, sigma: number, orders: z.array(number), rdp: z.array(number.nullable()) });
  test.each(rowsOf("rdp_one_step.json", row))("with q = $q and sigma = $sigma", ({ q, sigma, orders, rdp }) => {
    for (const [i, order] of orders.entries()) {
      const expected = rdp[i];
      if (expected === null || expected === undefined) continue;
      const ratio = poissonGaussianDivergence(q, sigma, order) / expected;
      if (q === 1 || Number.isInteger(order)) expect(Math.abs(ratio - 1)).toBeLessThan(EXACT);
      else expect(ratio).toBeLessThan(1 + INTEGER_ORDER);
    }
  });
});

describe("epsilon of a run with Poisson sampling", () => {
  const row = z.object({
    q: number,
    sigma: number,
    steps: number,
    delta: number,
    rdp_epsilon: number,
    rdp_best_order: number,
    pld_epsilon: number,
  });
  test.each(rowsOf("poisson_gaussian_epsilon.json", row))("q = $q, sigma = $sigma, $steps rounds", (expected) => {
    const rounds = [poisson(expected.q, expected.sigma, expected.steps)];
    const { epsilon, order } = epsilonOf(divergencesOf(rounds), expected.delta);
    const ratio = epsilon / expected.rdp_epsilon;
    const closedForm = expected.q === 1 || Number.isInteger(order);
    if (closedForm && order === expected.rdp_best_order) expect(Math.abs(ratio - 1)).toBeLessThan(INTEGER_ORDER);
    else expect(ratio).toBeLessThan(1 + FRACTIONAL_ORDER);
    expect(epsilon).toBeGreaterThan(expected.pld_epsilon * (1 - GRID));
    const said = guaranteeOf(rounds, expected.delta);
    expect(said.epsilon).toBeLessThanOrEqual(epsilon * (1 + EXACT));
    expect(said.epsilon).toBeGreaterThan(expected.pld_epsilon * (1 - GRID));
  });
});

describe("the Gaussian mechanism without sampling", () => {
  const row = z.object({ sigma: number, delta: number, epsilon: number });
  test.each(rowsOf("analytic_gaussian.json", row, "epsilon_from_sigma"))("sigma = $sigma, delta = $delta", (expected) => {
    const epsilon = gaussianEpsilon(expected.sigma, expected.delta);
    expect(Math.abs(epsilon - expected.epsilon)).toBeLessThan(EXACT * Math.max(1, expected.epsilon));
  });
  test.each(rowsOf("analytic_gaussian.json", row, "sigma_from_epsilon"))("epsilon = $epsilon, delta = $delta", (expected) => {
    expect(Math.abs(gaussianSigma(expected.epsilon, expected.delta) / expected.sigma - 1)).toBeLessThan(EXACT);
  });
});

describe("calibration", () => {
  const row = z.object({ q: number, steps: number, delta: number, target_epsilon: number, sigma_rdp: number });
  test.each(rowsOf("calibration.json", row))("q = $q, $steps rounds, epsilon $target_epsilon", (expected) => {
    const { q, steps, delta, target_epsilon } = expected;
    const sigma = calibrate({ kind: "poisson", rate: q }, steps, target_epsilon, delta);
    // Less noise than the library asks for is right where our bound is the tighter one; it must still keep the target.
    expect(sigma).toBeLessThan(expected.sigma_rdp * (1 + INTEGER_ORDER));
    expect(guaranteeOf([poisson(q, sigma, steps)], delta).epsilon).toBeLessThanOrEqual(target_epsilon);
    expect(guaranteeOf([poisson(q, sigma * (1 - 1e-5), steps)], delta).epsilon).toBeGreaterThan(target_epsilon);
  });
});

describe("fixed-size sampling", () => {
  const row = z.object({ population: number, sample: number, sigma: number, steps: number, delta: number, rdp_epsilon: number });
  test.each(rowsOf("without_replacement.json", row))("$sample of $population, sigma = $sigma", (expected) => {
    const { population, sample, sigma, steps, delta, rdp_epsilon } = expected;
    const sampling = { kind: "fixed-size", population, sample } as const;
    const { epsilon, order, neighbors } = guaranteeOf([{ sampling, noiseMultiplier: sigma, count: steps }], delta);
    const tolerance = Number.isInteger(order) ? INTEGER_ORDER : FRACTIONAL_ORDER;
    expect(Math.abs(epsilon / rdp_epsilon - 1)).toBeLessThan(tolerance);
    expect(neighbors).toBe("replace one");
  });
});

describe("rounds of different kinds", () => {
  const part = z.object({ q: number, sigma: number, steps: number });
  const row = z.object({ parts: z.array(part), delta: number, rdp_epsilon: number, pld_epsilon: number });
  test.each(rowsOf("mixed_composition.json", row))("$parts", ({ parts, delta, rdp_epsilon, pld_epsilon }) => {
    const rounds = parts.map(({ q, sigma, steps }) => poisson(q, sigma, steps));
    const { epsilon } = guaranteeOf(rounds, delta);
    expect(epsilon / rdp_epsilon).toBeLessThan(1 + FRACTIONAL_ORDER);
    expect(epsilon / rdp_epsilon).toBeGreaterThan(1 - FRACTIONAL_ORDER);
    expect(epsilon).toBeGreaterThan(pld_epsilon * (1 - GRID));
  });
});
