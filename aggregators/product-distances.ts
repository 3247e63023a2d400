/**
 * Squared distances between the clients' products of one module, all pairs from two Gram matrices.
 *
 * With Ā, B̄ the mean factors and A_k = Ā + α_k, B_k = B̄ + β_k, a product differs from B̄ Ā by
 *
 *   Y_k = B_k A_k − B̄ Ā = [β_k  B̄] · [A_k; α_k]      ⟨Y_i, Y_j⟩ = Σ ([β_i B̄]ᵀ[β_j B̄]) ∘ ([A_i; α_i][A_j; α_j]ᵀ)
 *
 * and all of these blocks follow from the inner products of the rows of Ā and α_k, and of the columns of B̄ and β_k:
 * n² r² numbers, each made once, where every pair for itself would make 16 r² of them. What is squared is small where
 * clients are near each other, so that near products keep their digits.
 */
import { type Matrix, matrix, transpose } from "../adapters/matrix.ts";
import { addScaled } from "./differences.ts";
import { gramOf } from "./gram.ts";
import { type ScaledFactors, squaredProductDistance } from "./modules.ts";

/** Calls `add` for every pair i < j. */
export function productDistances(
  clients: readonly ScaledFactors[],
  add: (i: number, j: number, squared: number) => void,
): void {
  const [first] = clients;
  const alike = clients.every(
    ({ factors, scale }) => scale === first!.scale && factors.a.rows === first!.factors.a.rows,
  );
  if (first === undefined || !alike) {
    for (let i = 0; i < clients.length; i++) {
      for (let j = i + 1; j < clients.length; j++)
        add(i, j, squaredProductDistance(clients[i]!, clients[j]!));
    }
    return;
  }
  const rank = first.factors.a.rows;
  const a = gramOf(fromMean(clients.map(({ factors }) => factors.a)));
  const b = gramOf(fromMean(clients.map(({ factors }) => transpose(factors.b))));
  const dot = (i: number, j: number) => innerProduct(a, b, rank, i + 1, j + 1);
  const own = clients.map((_, k) => dot(k, k));
  for (let i = 0; i < clients.length; i++) {
    for (let j = i + 1; j < clients.length; j++) {
      add(i, j, first.scale ** 2 * Math.max(0, own[i]! + own[j]! - 2 * dot(i, j)));
    }
  }
}

/** Of Y_i and Y_j; block 0 of the Gram matrices is the mean's. */
function innerProduct({ rows, data: a }: Matrix, { data: b }: Matrix, rank: number, i: number, j: number) {
  let total = 0;
  for (let p = 0; p < rank; p++) {
    const [meanRow, ownRow] = [p * rows, (i * rank + p) * rows];
    for (let q = 0; q < rank; q++) {
      const [mean, own] = [q, j * rank + q];
      const [aa, aj, ia, ij] = [a[meanRow + mean]!, a[meanRow + own]!, a[ownRow + mean]!, a[ownRow + own]!];
      const whole = aa + aj + ia + ij; // A_i A_jᵀ
      total += b[ownRow + own]! * whole; // β_iᵀ β_j
      total += b[ownRow + mean]! * (aj + ij); // β_iᵀ B̄ with A_i α_jᵀ
      total += b[meanRow + own]! * (ia + ij); // B̄ᵀ β_j with α_i A_jᵀ
      total += b[meanRow + mean]! * ij; // B̄ᵀ B̄ with α_i α_jᵀ
    }
  }
  return total;
}

/** The mean of matrices of one shape, and below it each one's difference from it. */
function fromMean(matrices: readonly Matrix[]): Matrix {
  const { rows, cols } = matrices[0]!;
  const stack = matrix(rows * (matrices.length + 1), cols);
  const mean = stack.data.subarray(0, rows * cols);
  for (const { data } of matrices) addScaled(mean, data, 1 / matrices.length);
  for (const [k, { data }] of matrices.entries()) {
    const difference = stack.data.subarray((k + 1) * rows * cols, (k + 2) * rows * cols);
    for (let i = 0; i < difference.length; i++) difference[i] = data[i]! - mean[i]!;
  }
  return stack;
}
