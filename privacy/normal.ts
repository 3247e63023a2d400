/**
 * The standard normal distribution function, with full relative accuracy in the lower tail.
 *
 * Near 0 by the series of erf whose terms are all positive (Abramowitz and Stegun 7.1.6), far out by the continued
 * fraction of erfc (7.1.14).
 */

/** Beyond this the fraction converges in some fifty steps; below it the series loses at most three digits of 1 - erf. */
const FRACTION_FROM = 2;
const FRACTION_STEPS = 120;

/** log Φ(x) */
export function logNormalCdf(x: number): number {
  const z = x / Math.SQRT2;
  if (z >= 0) return Math.log1p(-erfc(z) / 2);
  return logErfc(-z) - Math.LN2;
}

export function normalCdf(x: number): number {
  return Math.exp(logNormalCdf(x));
}

function erfc(z: number): number {
  return Math.exp(logErfc(z));
}

/** For z >= 0. */
function logErfc(z: number): number {
  if (z < FRACTION_FROM) return Math.log1p(-erf(z));
  let fraction = z;
  for (let k = FRACTION_STEPS; k >= 1; k--) fraction = z + k / 2 / fraction;
  return -z * z - Math.log(fraction * Math.sqrt(Math.PI));
}

/** erf(z) = 2/√π e^(-z²) Σ 2^k z^(2k+1) / (1·3·…·(2k+1)) */
function erf(z: number): number {
  let term = z;
  let sum = z;
  for (let k = 1; term > sum * Number.EPSILON; k++) {
    term *= (2 * z * z) / (2 * k + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum;
}
