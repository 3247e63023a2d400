/** Bounding what one client can change, which is what noise is measured against. */
import { floats } from "../adapters/cast.ts";
import type { TensorSet } from "../adapters/tensor.ts";

/** L2 norm of all tensors together. */
export function normOf(tensors: TensorSet): number {
  let sum = 0;
  for (const tensor of tensors.values()) for (const value of floats(tensor)) sum += value * value;
  return Math.sqrt(sum);
}

/**
 * What to multiply a change of this norm with, so that its norm is at most `clipNorm`: min(1, C / norm).
 *
 * @throws RangeError for a norm that is not finite: a change of NaN must not pass as small
 */
export function clipFactor(norm: number, clipNorm: number): number {
  if (!(norm >= 0 && norm < Number.POSITIVE_INFINITY)) throw new RangeError(`A norm is finite, got ${norm}`);
  return norm <= clipNorm ? 1 : clipNorm / norm;
}

/**
 * A clip norm that follows the updates: C exp(-η (b - γ)), b the share of updates that were within C.
 *
 * b tells about clients too: for a promise it needs noise of its own (its count has sensitivity 1/2 after centering),
 * and the noise multiplier of the updates grows to z / sqrt(1 - (z / 2σ_b)²).
 *
 * Source: Andrew et al. 2021, Algorithm 1 and Theorem 1, https://arxiv.org/abs/1905.03871
 */
export function nextClipNorm(clipNorm: number, unclippedShare: number, target: number, rate: number): number {
  return clipNorm * Math.exp(-rate * (unclippedShare - target));
}

/** Noise multiplier of the updates when part of the budget goes to the count, so that both together cost as z does. */
export function updateNoiseMultiplier(noiseMultiplier: number, countNoiseStd: number): number {
  const rest = noiseMultiplier ** -2 - (2 * countNoiseStd) ** -2;
  if (!(rest > 0)) {
    throw new RangeError(`The count's noise must be above ${noiseMultiplier / 2}, got ${countNoiseStd}`);
  }
  return rest ** -0.5;
}
