/**
 * QR by Householder reflections: X = Q·R, Q with orthonormal columns, R upper trapezoidal.
 *
 * Q stays a product of reflections and is only ever applied, so that a tall factor of a LoRA stack costs
 * 2·m·k² for R and 4·m·k·r for r columns of Q, and never a second tall matrix.
 *
 * Source: Golub and Van Loan, Matrix Computations, 4th ed., algorithms 5.1.1 and 5.2.1
 */
import type { Matrix } from "./matrix.ts";

export interface QR {
  /** min(m, n) x n */
  readonly r: Matrix;
  /** Q · x for x with min(m, n) rows; the result has m rows. */
  apply(x: Matrix): Matrix;
}

/** Of an m x n matrix. */
export function qr(x: Matrix): QR {
  const columns = new Float64Array(x.data.length);
  for (let i = 0; i < x.rows; i++) {
    for (let j = 0; j < x.cols; j++) columns[j * x.rows + i] = x.data[i * x.cols + j]!;
  }
  return decompose(columns, x.rows, x.cols);
}

/** Of the transpose of an n x m matrix, whose rows are the columns wanted. */
export function qrOfTranspose(x: Matrix): QR {
  return decompose(x.data.slice(), x.cols, x.rows);
}

/** @param columns n columns of m entries one after the other; overwritten: R above, reflections from the diagonal on */
function decompose(columns: Float64Array, m: number, n: number): QR {
  const k = Math.min(m, n);
  const taus = new Float64Array(k);
  const diagonal = new Float64Array(k);
  for (let j = 0; j < k; j++) {
    const at = j * m;
    // Scaled by the largest entry, so that squares neither overflow nor vanish.
    let largest = 0;
    for (let i = j; i < m; i++) largest = Math.max(largest, Math.abs(columns[at + i]!));
    if (largest === 0) continue; // nothing to reflect: tau 0 is the identity
    let sum = 0;
    for (let i = j; i < m; i++) sum += (columns[at + i]! / largest) ** 2;
    const norm = largest * Math.sqrt(sum);
    const head = columns[at + j]!;
    // The sign that avoids cancellation in the reflection's first entry.
    const alpha = head > 0 ? -norm : norm;
    const first = head - alpha;
    for (let i = j + 1; i < m; i++) columns[at + i]! /= first;
    columns[at + j] = 1;
    taus[j] = -first / alpha;
    diagonal[j] = alpha;
    for (let c = j + 1; c < n; c++) reflect(columns, at, taus[j]!, columns, c * m, j, m);
  }
  const r = new Float64Array(k * n);
  for (let i = 0; i < k; i++) {
    r[i * n + i] = diagonal[i]!;
    for (let j = i + 1; j < n; j++) r[i * n + j] = columns[j * m + i]!;
  }
  return {
    r: { rows: k, cols: n, data: r },
    apply(x) {
      if (x.rows !== k) throw new TypeError(`Q has ${k} columns, got ${x.rows} rows`);
      const target = new Float64Array(m * x.cols);
      for (let i = 0; i < k; i++)
        for (let c = 0; c < x.cols; c++) target[c * m + i] = x.data[i * x.cols + c]!;
      for (let j = k - 1; j >= 0; j--) {
        for (let c = 0; c < x.cols; c++) reflect(columns, j * m, taus[j]!, target, c * m, j, m);
      }
      const data = new Float64Array(m * x.cols);
      for (let i = 0; i < m; i++) for (let c = 0; c < x.cols; c++) data[i * x.cols + c] = target[c * m + i]!;
      return { rows: m, cols: x.cols, data };
    },
  };
}

/** y -= tau · v · (vᵀ y), from row `from` on. */
function reflect(
  vs: Float64Array,
  v: number,
  tau: number,
  ys: Float64Array,
  y: number,
  from: number,
  m: number,
): void {
  if (tau === 0) return;
  let dot = 0;
  for (let i = from; i < m; i++) dot += vs[v + i]! * ys[y + i]!;
  const factor = tau * dot;
  for (let i = from; i < m; i++) ys[y + i]! -= factor * vs[v + i]!;
}
