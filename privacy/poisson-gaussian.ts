/**
 * Rényi divergence of one round in which each client takes part with probability q, independently of all others, and
 * Gaussian noise is added to the sum of the clipped updates.
 *
 * Neighbors: one client added or removed. Sampling: Poisson, so the number of clients in a round is itself random; a
 * fixed number per round is another mechanism (fixed-size-gaussian.ts).
 *
 *   A(α) = E_{x ~ N(0, σ²)} (1 + w)^α,  w = q (e^{(2x - 1)/(2σ²)} - 1)         divergence = log A / (α - 1)
 *
 * Source: Mironov, Talwar and Zhang 2019, sections 3.1 and 3.3, https://arxiv.org/abs/1908.10530
 */
import { logGaussianIntegral } from "./gaussian-integral.ts";
import { logAdd, logExpm1, logFactorials, logOnePlus } from "./log-domain.ts";

/** @param sigma noise standard deviation / sensitivity of the sum, which is the clip norm */
export function poissonGaussianDivergence(q: number, sigma: number, order: number): number {
  if (q === 0) return 0;
  if (q === 1) return order / (2 * sigma * sigma);
  const logExcess = Number.isInteger(order) ? integerExcess(q, sigma, order) : anyExcess(q, sigma, order);
  return logOnePlus(logExcess) / (order - 1);
}

/**
 * log (A - 1) for an integer order: Σ_{k>=2} C(α, k) (1-q)^(α-k) q^k (e^{(k² - k)/(2σ²)} - 1). All terms are positive
 * and the 1 is taken out exactly, so that divergences of 1e-12 keep their digits.
 */
function integerExcess(q: number, sigma: number, order: number): number {
  const factorials = logFactorials(order);
  let sum = Number.NEGATIVE_INFINITY;
  for (let k = 2; k <= order; k++) {
    const choose = factorials[order]! - factorials[k]! - factorials[order - k]!;
    const weight = choose + k * Math.log(q) + (order - k) * Math.log1p(-q);
    sum = logAdd(sum, weight + logExpm1((k * k - k) / (2 * sigma * sigma)));
  }
  return sum;
}

/** log (A - 1) for any order: as E w = 0, A - 1 is the mean of (1 + w)^α - 1 - αw, which is nowhere negative. */
function anyExcess(q: number, sigma: number, order: number): number {
  return logGaussianIntegral(sigma, order, (loss) => logConvexGap(q, loss, order));
}

/** log ((1 + w)^α - 1 - αw) */
function logConvexGap(q: number, loss: number, order: number): number {
  const logOnePlusW =
    loss > 1 ? logAdd(Math.log(q) + loss, Math.log1p(-q)) : Math.log1p(q * Math.expm1(loss));
  const power = order * logOnePlusW;
  if (power > 40) return power; // 1 + αw is below its rounding
  const w = q * Math.expm1(loss);
  // For small w the terms cancel down to their second order.
  const gap =
    Math.abs(w) < 1e-4
      ? ((order * (order - 1)) / 2) * w * w * (1 + ((order - 2) / 3) * w * (1 + ((order - 3) / 4) * w))
      : Math.expm1(power) - order * w;
  return Math.log(Math.max(0, gap));
}
