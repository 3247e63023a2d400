/**
 * Binomial draws as numpy's legacy generator makes them: inversion where n·p <= 30, else BTPE.
 *
 * Source: Kachitvichyanukul and Schmeiser 1988, "Binomial random variate generation", CACM 31(2);
 * numpy/random/src/distributions/distributions.c
 */

/** @param double the next uniform in [0, 1) */
export function binomial(double: () => number, n: number, p: number): number {
  if (p > 0.5) return n - below(double, n, 1 - p);
  return below(double, n, p);
}

function below(double: () => number, n: number, p: number): number {
  return n * p <= 30 ? inversion(double, n, p) : btpe(double, n, p);
}

/** Walks the probabilities from 0 up; starts again with a new draw past ten standard deviations. */
function inversion(double: () => number, n: number, p: number): number {
  const q = 1 - p;
  const start = Math.exp(n * Math.log(q));
  const np = n * p;
  const bound = Math.trunc(Math.min(n, np + 10 * Math.sqrt(np * q + 1)));
  let x = 0;
  let probability = start;
  let u = double();
  while (u > probability) {
    x++;
    if (x > bound) {
      x = 0;
      probability = start;
      u = double();
    } else {
      u -= probability;
      probability = ((n - x + 1) * p * probability) / (x * q);
    }
  }
  return x;
}

/** Four regions under a triangle, parallelograms and two exponential tails; letters as in the paper. */
function btpe(double: () => number, n: number, r: number): number {
  const q = 1 - r;
  const fm = n * r + r;
  const m = Math.floor(fm);
  const p1 = Math.floor(2.195 * Math.sqrt(n * r * q) - 4.6 * q) + 0.5;
  const xm = m + 0.5;
  const xl = xm - p1;
  const xr = xm + p1;
  const c = 0.134 + 20.5 / (15.3 + m);
  const left = (fm - xl) / (fm - xl * r);
  const lambdaL = left * (1 + left / 2);
  const right = (xr - fm) / (xr * q);
  const lambdaR = right * (1 + right / 2);
  const p2 = p1 * (1 + 2 * c);
  const p3 = p2 + c / lambdaL;
  const p4 = p3 + c / lambdaR;
  for (;;) {
    const u = double() * p4;
    let v = double();
    if (u <= p1) return Math.floor(xm - p1 * v + u);
    let y: number;
    if (u <= p2) {
      const x = xl + (u - p1) / c;
      v = v * c + 1 - Math.abs(m - x + 0.5) / p1;
      if (v > 1) continue;
      y = Math.floor(x);
    } else if (u <= p3) {
      y = Math.floor(xl + Math.log(v) / lambdaL);
      if (y < 0 || v === 0) continue;
      v = v * (u - p2) * lambdaL;
    } else {
      y = Math.floor(xr - Math.log(v) / lambdaR);
      if (y > n || v === 0) continue;
      v = v * (u - p3) * lambdaR;
    }
    if (accepted(n, r, m, xm, y, v)) return y;
  }
}

function accepted(n: number, r: number, m: number, xm: number, y: number, v: number): boolean {
  const q = 1 - r;
  const npq = n * r * q;
  const k = Math.abs(y - m);
  if (k <= 20 || k >= npq / 2 - 1) {
    const s = r / q;
    const a = s * (n + 1);
    let f = 1;
    for (let i = m + 1; i <= y; i++) f *= a / i - s;
    for (let i = y + 1; i <= m; i++) f /= a / i - s;
    return v <= f;
  }
  const rho = (k / npq) * ((k * (k / 3 + 0.625) + 0.16666666666666666) / npq + 0.5);
  const t = (-k * k) / (2 * npq);
  const logV = Math.log(v);
  if (logV < t - rho) return true;
  if (logV > t + rho) return false;
  const x1 = y + 1;
  const f1 = m + 1;
  const z = n + 1 - m;
  const w = n - y + 1;
  return (
    logV <=
    xm * Math.log(f1 / x1) +
      (n - m + 0.5) * Math.log(z / w) +
      (y - m) * Math.log((w * r) / (x1 * q)) +
      stirling(f1) +
      stirling(z) +
      stirling(x1) +
      stirling(w)
  );
}

/** The tail of Stirling's series. */
function stirling(x: number): number {
  const x2 = x * x;
  return (13680 - (462 - (132 - (99 - 140 / x2) / x2) / x2) / x2) / x / 166320;
}
