/**
 * Integrals of e^(f(x)) against a normal density, as logarithms.
 *
 * By the trapezoid rule, which for analytic integrands that fall off like a Gaussian is exact to rounding once the
 * step is small against the distance of the nearest singularity from the real line (Trefethen and Weideman 2014,
 * https://doi.org/10.1137/130932132).
 */

/** Standard deviations left out at each end: e^(-12²/2) is 5e-32. */
const TAILS = 12;

/**
 * log ∫ N(x; 0, σ²) e^{f(x)} dx for the functions of a Gaussian's privacy loss u(x) = (2x - 1) / (2σ²), whose
 * singularities lie πσ² from the real line.
 *
 * @param power how steep f is: it grows at most as power · u(x), so that the mass lies between 0 and `power`
 */
export function logGaussianIntegral(sigma: number, power: number, f: (loss: number) => number): number {
  const step = (sigma * Math.min(1, sigma)) / 4;
  const count = Math.ceil((power + 2 * TAILS * sigma) / step);
  const terms = new Float64Array(count + 1);
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i <= count; i++) {
    const x = -TAILS * sigma + i * step;
    const term = f((2 * x - 1) / (2 * sigma * sigma)) - (x * x) / (2 * sigma * sigma);
    terms[i] = term;
    largest = Math.max(largest, term);
  }
  if (largest === Number.NEGATIVE_INFINITY) return largest;
  let sum = 0;
  for (const term of terms) sum += Math.exp(term - largest);
  return largest + Math.log((sum * step) / (sigma * Math.sqrt(2 * Math.PI)));
}
