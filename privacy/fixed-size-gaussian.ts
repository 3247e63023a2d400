/**
 * Rényi divergence of one round in which a fixed number of clients is drawn without replacement, and Gaussian noise is
 * added to the sum of the clipped updates.
 *
 * Neighbors: one client's data replaced by another's; the number of clients is known to everybody. The sensitivity of
 * a sum of updates clipped to C is 2C here, and σ is relative to it.
 *
 * A bound, not the exact value: with γ = sample / population and B(l) = E (p/q - 1)^l for the Gaussians p and q,
 *
 *   A(α) <= 1 + C(α,2) γ² min(4 B(2), 2 e^{D(2)}) + Σ_{j>=3} C(α,j) γ^j min(4 sqrt(B(2⌊j/2⌋) B(2⌈j/2⌉)), 2 e^{(j-1) D(j)})
 *
 * and between integer orders (α - 1)·D(α) is convex, hence below the line between them.
 *
 * Source: Wang, Balle and Kasiviswanathan 2019, Theorem 9 and its ternary refinement, https://arxiv.org/abs/1808.00087
 */
import { logGaussianIntegral } from "./gaussian-integral.ts";
import { logAdd, logExpm1, logFactorials } from "./log-domain.ts";

/** Above this order only the coarser of the two bounds is taken: the finer one costs an integral per order. */
const FINE_UP_TO = 256;

/** Divergences at all these orders: they share the integrals. @param sigma noise standard deviation / sensitivity */
export function fixedSizeGaussianDivergences(
  population: number,
  sample: number,
  sigma: number,
  orders: readonly number[],
): number[] {
  const gamma = sample / population;
  const largest = Math.ceil(Math.max(...orders));
  const factorials = logFactorials(largest);
  const moments = evenMoments(sigma, Math.min(largest, FINE_UP_TO));
  const whole = new Map<number, number>([[1, 0]]);
  const logA = (order: number): number => {
    const known = whole.get(order) ?? logBound(order);
    whole.set(order, known);
    return known;
  };
  const logBound = (order: number): number => {
    let sum = 0; // log 1
    for (let j = 2; j <= order; j++) {
      const choose = factorials[order]! - factorials[j]! - factorials[order - j]!;
      const coarse = Math.LN2 + (j * (j - 1)) / (2 * sigma * sigma);
      const fine =
        order <= FINE_UP_TO
          ? Math.log(4) + (moments[Math.floor(j / 2)]! + moments[Math.ceil(j / 2)]!) / 2
          : j === 2
            ? Math.log(4) + logExpm1(1 / sigma ** 2)
            : Number.POSITIVE_INFINITY;
      sum = logAdd(sum, choose + j * Math.log(gamma) + Math.min(coarse, fine));
    }
    return sum;
  };
  return orders.map((order) => {
    const [below, above] = [Math.floor(order), Math.ceil(order)];
    const share = order - below;
    return ((1 - share) * logA(below) + share * logA(above)) / (order - 1);
  });
}

/** log B(2h) for h = 1 … : the integrand (e^u - 1)^2h is nowhere negative. */
function evenMoments(sigma: number, order: number): number[] {
  const half = Math.ceil(order / 2);
  return Array.from({ length: half + 1 }, (_, h) =>
    logGaussianIntegral(sigma, 2 * h, (loss) => 2 * h * logAbsExpm1(loss)),
  );
}

function logAbsExpm1(x: number): number {
  if (x === 0) return Number.NEGATIVE_INFINITY;
  return x > 0 ? logExpm1(x) : Math.log(-Math.expm1(x));
}
