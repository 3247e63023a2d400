import { z } from "zod";
import { combine } from "../combination.ts";
import { squaredDistances } from "../distances.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { sum, weightsOf, weightsOption } from "../weights.ts";
import { comparing, spaceOption } from "./krum.ts";

/**
 * RFA: the geometric median of the clients' adapters, by the smoothed Weiszfeld algorithm.
 *
 *   z ← Σ b_k w_k / Σ b_k      b_k = a_k / max(ν, ||z − w_k||)      from z = Σ a_k w_k / Σ a_k
 *
 * The median is a combination of the w_k, so the steps run on the n x n matrix of squared distances D alone:
 * ||z − w_k||² = (D c)_k − cᵀ D c / 2 for z = Σ c_k w_k, Σ c_k = 1. Updates are read twice, however many steps.
 *
 * Source: Pillutla et al. 2022, Algorithm 2, https://arxiv.org/abs/1912.13445
 */
export const rfa = defineStrategy({
  name: "rfa",
  needs: ({ space }) => comparing(space, 1),
  config: z.strictObject({
    weights: weightsOption.default("examples").describe("a_k: what a client counts by"),
    smoothing: z.number().positive().default(1e-6).describe("ν, the least distance"),
    iterations: z
      .int()
      .positive()
      .default(4)
      .describe("most Weiszfeld steps; the paper finds that few suffice"),
    tolerance: z
      .number()
      .min(0)
      .default(0)
      .describe("stops after a step shorter than this share of ||z − w_k||'s mean"),
    space: spaceOption,
  }),
  presets: { paper: {}, converged: { iterations: 1000, tolerance: 1e-15 } },
  build: ({ weights: axis, smoothing, iterations, tolerance, space }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const distances = squaredDistances(updates, global, space);
      const weights = weightsOf(axis, updates.clients);
      const total = sum(weights);
      let shares = weights.map((weight) => weight / total);
      let taken = 0;
      for (; taken < iterations; taken++) {
        const lengths = lengthsFrom(distances, shares);
        const next = normalized(weights.map((weight, k) => weight / Math.max(smoothing, lengths[k]!)));
        const step = stepLength(
          distances,
          next.map((share, k) => share - shares[k]!),
        );
        shares = next;
        if (step <= tolerance * (sum(lengths) / lengths.length)) break;
      }
      return {
        state,
        global: combine(global, updates, { clients: shares, global: 0 }, space),
        report: { weiszfeldSteps: Math.min(taken + 1, iterations), largestShare: Math.max(...shares) },
      };
    },
  }),
});

function lengthsFrom(distances: readonly Float64Array[], shares: readonly number[]): number[] {
  const rows = distances.map((row) => sum(shares.map((share, j) => share * row[j]!)));
  const half = sum(shares.map((share, k) => share * rows[k]!)) / 2;
  return rows.map((row) => Math.sqrt(Math.max(0, row - half)));
}

/** ||Σ δ_k w_k|| for Σ δ_k = 0 is the root of −δᵀ D δ / 2. */
function stepLength(distances: readonly Float64Array[], change: readonly number[]): number {
  const product = sum(change.map((d, i) => d * sum(change.map((e, j) => e * distances[i]![j]!))));
  return Math.sqrt(Math.max(0, -product / 2));
}

function normalized(values: readonly number[]): number[] {
  const total = sum(values);
  return values.map((value) => value / total);
}
