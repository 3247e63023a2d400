/** Numbers far outside float64's range, kept as their logarithms. */

/** log(e^x + e^y) */
export function logAdd(x: number, y: number): number {
  const [larger, smaller] = x > y ? [x, y] : [y, x];
  return smaller === Number.NEGATIVE_INFINITY ? larger : larger + Math.log1p(Math.exp(smaller - larger));
}

/** log(e^x - 1) for x > 0 */
export function logExpm1(x: number): number {
  return x > 1 ? x + Math.log1p(-Math.exp(-x)) : Math.log(Math.expm1(x));
}

/** log(1 + e^x) */
export function logOnePlus(x: number): number {
  return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
}

/** log n! for k = 0 … n, summed: exact to rounding, and n is an order of at most some thousands. */
export function logFactorials(n: number): Float64Array {
  const logs = new Float64Array(n + 1);
  for (let k = 2; k <= n; k++) logs[k] = logs[k - 1]! + Math.log(k);
  return logs;
}
