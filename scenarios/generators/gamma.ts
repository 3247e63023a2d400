import type { Rng } from "../../base/rng.ts";

/**
 * One draw from Gamma(shape, 1).
 *
 * Source: Marsaglia and Tsang 2000, https://doi.org/10.1145/358407.358414; below 1 by their power of a uniform (§6)
 */
export function gamma(rng: Rng, shape: number): number {
  if (shape < 1) return gamma(rng, shape + 1) * (1 - rng.uniform()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = rng.normal();
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - rng.uniform()) < 0.5 * x * x + d * (1 - v + Math.log(v))) return d * v;
  }
}

/** Shares that sum to 1. Where all gammas underflow (tiny alpha), one client drawn at random has everything. */
export function dirichlet(rng: Rng, alpha: number, count: number): number[] {
  const draws = Array.from({ length: count }, () => gamma(rng, alpha));
  const sum = draws.reduce((all, draw) => all + draw, 0);
  if (sum > 0) return draws.map((draw) => draw / sum);
  const winner = rng.below(count);
  return draws.map((_, i) => (i === winner ? 1 : 0));
}
