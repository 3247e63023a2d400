/** Linear systems with a symmetric positive definite matrix of a few rows, by Cholesky's factorization. */
import { type Matrix, matrix } from "../adapters/matrix.ts";

/**
 * X with X · m = right.
 *
 * @param m symmetric positive definite, r x r
 * @param right n x r
 * @throws RangeError where m is not positive definite
 */
export function solvePositive(m: Matrix, right: Matrix): Matrix {
  const r = m.rows;
  const l = new Float64Array(r * r); // m = L Lᵀ
  for (let i = 0; i < r; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = m.data[i * r + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * r + k]! * l[j * r + k]!;
      if (i !== j) {
        l[i * r + j] = sum / l[j * r + j]!;
        continue;
      }
      if (!(sum > 0)) throw new RangeError(`The matrix is not positive definite: pivot ${i} is ${sum}`);
      l[i * r + i] = Math.sqrt(sum);
    }
  }
  const x = matrix(right.rows, r, right.data.slice());
  for (let row = 0; row < right.rows; row++) {
    const at = row * r;
    for (let i = 0; i < r; i++) {
      for (let k = 0; k < i; k++) x.data[at + i]! -= l[i * r + k]! * x.data[at + k]!;
      x.data[at + i]! /= l[i * r + i]!;
    }
    for (let i = r - 1; i >= 0; i--) {
      for (let k = i + 1; k < r; k++) x.data[at + i]! -= l[k * r + i]! * x.data[at + k]!;
      x.data[at + i]! /= l[i * r + i]!;
    }
  }
  return x;
}
