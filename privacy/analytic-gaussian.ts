/**
 * The Gaussian mechanism without sampling, exactly: everybody takes part in every round.
 *
 *   δ(ε) = Φ(1/(2σ) - εσ) - e^ε Φ(-1/(2σ) - εσ)         σ: noise standard deviation / sensitivity
 *
 * Rounds with σ_1, σ_2, … together are one round with 1/σ² = Σ 1/σ_i². Neighbors are whatever the sensitivity was
 * taken over: for a sum of updates clipped to C it is C where one client is added or removed, 2C where one is replaced.
 *
 * Source: Balle and Wang 2018, Theorem 8, https://arxiv.org/abs/1805.06530
 */

import { bisect } from "./bisect.ts";
import { logNormalCdf, normalCdf } from "./normal.ts";

export function gaussianDelta(sigma: number, epsilon: number): number {
  const upper = normalCdf(1 / (2 * sigma) - epsilon * sigma);
  const lower = Math.exp(epsilon + logNormalCdf(-1 / (2 * sigma) - epsilon * sigma));
  return Math.max(0, upper - lower);
}

/** The smallest ε for this δ. */
export function gaussianEpsilon(sigma: number, delta: number): number {
  if (gaussianDelta(sigma, 0) <= delta) return 0;
  return bisect((epsilon) => gaussianDelta(sigma, epsilon) <= delta, 0);
}

/** The smallest σ that keeps (ε, δ). */
export function gaussianSigma(epsilon: number, delta: number): number {
  return bisect((sigma) => gaussianDelta(sigma, epsilon) <= delta, 0);
}

/** σ of one round that tells as much as these rounds together. */
export function composedSigma(sigmas: readonly number[]): number {
  return 1 / Math.sqrt(sigmas.reduce((sum, sigma) => sum + 1 / sigma ** 2, 0));
}
