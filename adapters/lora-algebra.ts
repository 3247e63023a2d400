/**
 * Products B·A of LoRA factors, without ever building the out x in matrix.
 *
 * Norms and angles come from Gram matrices of r x r entries; a weighted sum of products is one longer product of
 * stacked factors; its best approximation of a given rank comes from a QR of each stack and an SVD of the small core
 * between them. QR rather than Gram matrices there, because those square the condition number.
 *
 * Identities:
 *   <B1·A1, B2·A2>_F = tr((B1ᵀB2)(A2·A1ᵀ))         Σ c_k B_k·A_k = [B_1 … B_m]·[c_1 A_1; …; c_m A_m]
 */
import { SVD } from "ml-matrix";

import { frobenius, type Matrix, matrix, matrixOf, multiplyTransposed, transposeMultiply } from "./matrix.ts";
import { qr, qrOfTranspose } from "./qr.ts";
import type { TensorSet } from "./tensor.ts";
import type { FactorPair } from "./tensor-names.ts";

/** The product b·a: b [out, r], a [r, in]. */
export interface Factors {
  readonly b: Matrix;
  readonly a: Matrix;
}

/** @throws TypeError if the set lacks one of the two */
export function factorsOf(tensors: TensorSet, { a, b }: FactorPair): Factors {
  const [tensorA, tensorB] = [tensors.get(a), tensors.get(b)];
  if (tensorA === undefined || tensorB === undefined) throw new TypeError(`The set lacks "${a}" or "${b}"`);
  return { a: matrixOf(tensorA), b: matrixOf(tensorB) };
}

/** <x, y>_F of the two products. */
export function productDot(x: Factors, y: Factors): number {
  requireSameProduct(x, y);
  // (B1ᵀB2) and (A1·A2ᵀ) both are r1 x r2: the trace is their entrywise product's sum.
  const outer = transposeMultiply(x.b, y.b);
  const inner = multiplyTransposed(x.a, y.a);
  let sum = 0;
  for (let i = 0; i < outer.data.length; i++) sum += outer.data[i]! * inner.data[i]!;
  return sum;
}

/** ||b·a||_F. Of a difference of near products take `stackedNorm`: this one loses half the digits there. */
export function productNorm(x: Factors): number {
  return Math.sqrt(Math.max(0, productDot(x, x)));
}

/** Σ c_k B_k·A_k as one product, exactly, whatever the ranks. The coefficients go into a. */
export function stackFactors(parts: readonly Factors[], coefficients: readonly number[]): Factors {
  const [first] = parts;
  if (first === undefined || parts.length !== coefficients.length) {
    throw new TypeError(`A stack wants one coefficient each, got ${parts.length} and ${coefficients.length}`);
  }
  for (const part of parts) requireSameProduct(first, part);
  const rank = parts.reduce((sum, { a }) => sum + a.rows, 0);
  const [out, width] = [first.b.rows, first.a.cols];
  const a = matrix(rank, width);
  const b = matrix(out, rank);
  let at = 0;
  for (const [k, part] of parts.entries()) {
    for (let i = 0; i < part.a.data.length; i++) a.data[at * width + i] = coefficients[k]! * part.a.data[i]!;
    for (let i = 0; i < out; i++) {
      b.data.set(part.b.data.subarray(i * part.b.cols, (i + 1) * part.b.cols), i * rank + at);
    }
    at += part.a.rows;
  }
  return { a, b };
}

/** ||b·a||_F to full relative accuracy, also where the terms of a stack nearly cancel: ||Rb·Raᵀ|| of both QRs. */
export function stackedNorm({ a, b }: Factors): number {
  return frobenius(multiplyTransposed(qr(b).r, qrOfTranspose(a).r));
}

/** ||exact - approximate||_F / ||exact||_F; 0 where both are zero, infinite where only the exact one is. */
export function relativeProductError(exact: Factors, approximate: Factors): number {
  const error = stackedNorm(stackFactors([exact, approximate], [1, -1]));
  if (error === 0) return 0;
  return error / stackedNorm(exact);
}

export interface Truncated extends Factors {
  /** As many as the rank asked for, largest first. */
  readonly singularValues: Float64Array;
}

/**
 * The best approximation of b·a of the given rank, in Frobenius and spectral norm (Eckart and Young 1936).
 *
 * b holds the singular values (b = U·S), the rows of a are orthonormal (a = Vᵀ); the entry of each row of a that is
 * largest in size, the first of them where there are several, is positive, so that signs do not flip from round to
 * round. Where the product has less rank than asked for, columns of b are zero; rows of a are zero beyond
 * min(out, in, stacked rank) only, since a row and a column that both are zero would never learn again.
 */
export function truncate({ a, b }: Factors, rank: number): Truncated {
  if (!Number.isInteger(rank) || rank < 1) throw new RangeError(`A rank is a positive integer, got ${rank}`);
  const left = qr(b);
  const right = qrOfTranspose(a);
  const core = svd(multiplyTransposed(left.r, right.r));
  const kept = Math.min(rank, core.values.length);
  const u = left.apply(columns(core.u, kept));
  const v = right.apply(columns(core.v, kept));
  const truncated = {
    a: matrix(rank, a.cols),
    b: matrix(b.rows, rank),
    singularValues: new Float64Array(rank),
  };
  // Below this a singular value is the rounding of the larger ones.
  const floor = (core.values[0] ?? 0) * Number.EPSILON * Math.max(a.cols, b.rows);
  for (let j = 0; j < kept; j++) {
    const value = core.values[j]! > floor ? core.values[j]! : 0;
    truncated.singularValues[j] = value;
    let largest = 0;
    for (let i = 0; i < v.rows; i++) {
      const entry = v.data[i * kept + j]!;
      if (Math.abs(entry) > Math.abs(largest)) largest = entry;
    }
    const sign = largest < 0 ? -1 : 1;
    for (let i = 0; i < v.rows; i++) truncated.a.data[j * a.cols + i] = sign * v.data[i * kept + j]!;
    for (let i = 0; i < u.rows; i++) truncated.b.data[i * rank + j] = sign * value * u.data[i * kept + j]!;
  }
  return truncated;
}

function svd(core: Matrix): { u: Matrix; values: Float64Array; v: Matrix } {
  const rows = Array.from({ length: core.rows }, (_, i) =>
    core.data.subarray(i * core.cols, (i + 1) * core.cols),
  );
  const { leftSingularVectors, diagonal, rightSingularVectors } = new SVD(rows, { autoTranspose: true });
  const flat = (vectors: typeof leftSingularVectors) =>
    matrix(vectors.rows, vectors.columns, vectors.to1DArray());
  return { u: flat(leftSingularVectors), values: Float64Array.from(diagonal), v: flat(rightSingularVectors) };
}

function columns({ rows, cols, data }: Matrix, count: number): Matrix {
  const out = new Float64Array(rows * count);
  for (let i = 0; i < rows; i++) out.set(data.subarray(i * cols, i * cols + count), i * count);
  return { rows, cols: count, data: out };
}

function requireSameProduct(x: Factors, y: Factors): void {
  if (x.b.rows !== y.b.rows || x.a.cols !== y.a.cols) {
    throw new TypeError(`Products must both be ${x.b.rows} x ${x.a.cols}, got ${y.b.rows} x ${y.a.cols}`);
  }
}
