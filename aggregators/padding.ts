/** Factors of several ranks, laid over one another row by row of A and column by column of B. */
import type { Factors } from "../adapters/lora-algebra.ts";
import { matrix } from "../adapters/matrix.ts";

export interface Part {
  readonly factors: Factors;
  readonly share: number;
  /** What its B is multiplied with, so that all parts have the global scale. */
  readonly scale: number;
}

/** Σ share_k pad(A_k) and Σ share_k scale_k pad(B_k); rows beyond `rank` are cut off. */
export function paddedSum(parts: readonly Part[], rank: number): Factors {
  return rankwiseSum(parts, rank, () => 1);
}

/** The same with a divisor for each rank: the row j of A and column j of B are divided by `divisor(j)`. */
export function rankwiseSum(parts: readonly Part[], rank: number, divisor: (j: number) => number): Factors {
  const { a: firstA, b: firstB } = parts[0]!.factors;
  const a = matrix(rank, firstA.cols);
  const b = matrix(firstB.rows, rank);
  for (const { factors, share, scale } of parts) {
    const rows = Math.min(rank, factors.a.rows);
    for (let j = 0; j < rows; j++) {
      const part = share / divisor(j);
      for (let i = 0; i < a.cols; i++) a.data[j * a.cols + i]! += part * factors.a.data[j * a.cols + i]!;
      for (let i = 0; i < b.rows; i++) {
        b.data[i * rank + j]! += part * scale * factors.b.data[i * factors.b.cols + j]!;
      }
    }
  }
  return { a, b };
}
