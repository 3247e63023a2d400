/**
 * How far the global factors are from the mean of the clients' products: the error that comes from averaging A
 * and B apart, or from cutting a mean of products to its rank.
 *
 *   ||Σ p_k s_k B_k A_k − s B A||_F / ||Σ p_k s_k B_k A_k||_F
 *
 * For equal scales, Σ p_k B_k A_k − B̄ Ā = Σ p_k (B_k − B̄)(A_k − Ā): the error is measured on these small
 * differences by Gram traces, and is exact to the last digits however near the products are.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { type Factors, productDot, stackFactors } from "../adapters/lora-algebra.ts";
import { type Matrix, matrix, transpose } from "../adapters/matrix.ts";
import type { FactorPair } from "../adapters/tensor-names.ts";
import { addScaled } from "./differences.ts";
import {
  minus,
  moduleFactors,
  modulesOf,
  productDifference,
  type ScaledFactors,
  scaledFactors,
} from "./modules.ts";
import { scratchRows } from "./rows.ts";
import type { Updates } from "./strategy.ts";
import { sum } from "./weights.ts";

/** Squared norms of the error and of the exact mean. */
export interface SquaredError {
  readonly error: number;
  readonly size: number;
}

/** Of the modules that at least one counted client sent. */
export function productErrors(
  global: Adapter,
  updates: Updates,
  weights: readonly number[],
  pairs: readonly FactorPair[] = modulesOf(global.tensors.keys()).pairs,
): Map<string, SquaredError> {
  const errors = new Map<string, SquaredError>();
  for (const pair of pairs) {
    const present = updates.clients.flatMap((_, k) => {
      const sent = weights[k] === 0 ? undefined : moduleFactors(updates, k, pair);
      return sent === undefined ? [] : [{ ...sent, weight: weights[k]! }];
    });
    if (present.length === 0) continue;
    const total = sum(present.map(({ weight }) => weight));
    const shares = present.map(({ weight }) => weight / total);
    const own = scaledFactors(global.config, pair, global.tensors.get(pair.a)!, global.tensors.get(pair.b)!);
    const exact = stackFactors(
      present.map(({ factors }) => factors),
      present.map(({ scale }, k) => shares[k]! * scale),
    );
    const error = meanMinus(own, present, shares);
    errors.set(pair.module, { error: squared(error), size: squared(exact) });
  }
  return errors;
}

export function relativeError(errors: Iterable<SquaredError>): number {
  let [error, size] = [0, 0];
  for (const module of errors) {
    error += module.error;
    size += module.size;
  }
  return error === 0 ? 0 : Math.sqrt(error / size);
}

/** Σ p_k s_k B_k A_k − s B A as one product, of small differences where ranks and scales agree. @param shares p_k, 1 in all */
export function meanMinus(
  own: ScaledFactors,
  present: readonly ScaledFactors[],
  shares: readonly number[],
): Factors {
  const alike = present.every(
    ({ factors, scale }) => scale === own.scale && factors.a.rows === own.factors.a.rows,
  );
  if (!alike) {
    return stackFactors(
      [...present.map(({ factors }) => factors), own.factors],
      [...present.map(({ scale }, k) => shares[k]! * scale), -own.scale],
    );
  }
  const mean = {
    a: meanOf(
      present.map(({ factors }) => factors.a),
      shares,
    ),
    b: meanOf(
      present.map(({ factors }) => factors.b),
      shares,
    ),
  };
  const apart = present.map(({ factors }) => ({ a: minus(factors.a, mean.a), b: minus(factors.b, mean.b) }));
  return stackFactors(
    [...apart, productDifference({ factors: mean, scale: own.scale }, own)],
    [...shares.map((share) => share * own.scale), 1],
  );
}

/** From so many rows on Gram matrices are made by vector instructions, at a quarter of the time or less. */
export const LONG_STACK = 48;

/** ||B·A||² = Σ (A Aᵀ) ∘ (Bᵀ B), entry by entry. */
function squared(product: Factors): number {
  const size = product.a.rows;
  if (size < LONG_STACK) return Math.max(0, productDot(product, product));
  const { rows, gram, clear } = scratchRows;
  const grams = [product.a, transpose(product.b)].map(({ data, cols }) => {
    const [own, result] = [rows(size, cols), rows(size, size)];
    for (let i = 0; i < size; i++) own.row(i).set(data.subarray(i * cols, (i + 1) * cols));
    gram(own, result);
    return result;
  });
  let total = 0;
  for (let i = 0; i < size; i++) {
    const [x, y] = grams.map((result) => result.row(i));
    for (let j = 0; j < size; j++) total += x![j]! * y![j]!;
  }
  clear();
  return Math.max(0, total);
}

function meanOf(matrices: readonly Matrix[], shares: readonly number[]): Matrix {
  const mean = matrix(matrices[0]!.rows, matrices[0]!.cols);
  for (const [k, { data }] of matrices.entries()) addScaled(mean.data, data, shares[k]!);
  return mean;
}
