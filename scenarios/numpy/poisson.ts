/**
 * Poisson draws as numpy's legacy generator makes them.
 *
 * Source: Hörmann 1993, "The transformed rejection method for generating Poisson random variables" (PTRS) for
 * lambda >= 10; Knuth's product of uniforms below; numpy/random/src/distributions/distributions.c
 */

/** @param double the next uniform in [0, 1) */
export function poisson(double: () => number, lambda: number): number {
  if (lambda >= 10) return transformedRejection(double, lambda);
  if (lambda === 0) return 0;
  const limit = Math.exp(-lambda);
  let product = 1;
  for (let k = 0; ; k++) {
    product *= double();
    if (product <= limit) return k;
  }
}

function transformedRejection(double: () => number, lambda: number): number {
  const logLambda = Math.log(lambda);
  const b = 0.931 + 2.53 * Math.sqrt(lambda);
  const a = -0.059 + 0.02483 * b;
  const inverseAlpha = 1.1239 + 1.1328 / (b - 3.4);
  const vr = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    const u = double() - 0.5;
    const v = double();
    const us = 0.5 - Math.abs(u);
    const k = Math.floor(((2 * a) / us + b) * u + lambda + 0.43);
    if (us >= 0.07 && v <= vr) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    const left = Math.log(v) + Math.log(inverseAlpha) - Math.log(a / (us * us) + b);
    if (left <= -lambda + k * logLambda - logGamma(k + 1)) return k;
  }
}

/** Coefficients B_2k / (2k(2k-1)) of Stirling's series. */
const SERIES = [
  8.333333333333333e-2, -2.777777777777778e-3, 7.936507936507937e-4, -5.952380952380952e-4,
  8.417508417508418e-4, -1.917526917526918e-3, 6.41025641025641e-3, -2.955065359477124e-2,
  1.796443723688307e-1, -1.3924322169059,
];

/** ln Γ(x): Stirling's series, small arguments lifted above 7. Source: Zhang and Jin 1996 */
function logGamma(x: number): number {
  if (x === 1 || x === 2) return 0;
  const lift = x < 7 ? Math.trunc(7 - x) : 0;
  let lifted = x + lift;
  const x2 = (1 / lifted) * (1 / lifted);
  const tail = SERIES.reduceRight((sum, coefficient) => sum * x2 + coefficient);
  let result = tail / lifted + 0.5 * 1.8378770664093453 + (lifted - 0.5) * Math.log(lifted) - lifted;
  for (let k = 1; k <= lift; k++) {
    result -= Math.log(lifted - 1);
    lifted--;
  }
  return result;
}
