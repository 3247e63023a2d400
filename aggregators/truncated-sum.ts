/**
 * The best approximation of a given rank for a sum of many products, Σ c_k B_k A_k = B·A with R = Σ r_k rows and columns.
 *
 * A QR of both stacks and an SVD of the R x R core (adapters/lora-algebra.ts) cost out · R² + R³ and end with R singular
 * values of which few are wanted. Here the two Gram matrices G_A = A Aᵀ and G_B = Bᵀ B are made once, by vector
 * instructions, and the leading right singular vectors v = Aᵀ x are found in the coefficients x alone:
 *
 *   x → G_B G_A x is symmetric in the inner product ⟨x, y⟩ = xᵀ G_A y, its eigenvalues are σ²
 *
 * A block Krylov space of it, orthogonal in that product, holds them after few steps; the block is wider than the rank,
 * so that equal singular values are found as often as they occur. With p = G_A x, U = orth(B p) is then made from the
 * factors themselves and the result is U (Uᵀ B A), whose rounding is that of one product. Gram matrices square the
 * condition number: where a wanted σ lies below 1e-5 of the largest, or the space would have to grow too large, the
 * QR decides instead.
 *
 * Source: Golub, Luk and Overton 1981 (block Lanczos for singular values), https://doi.org/10.1145/355945.355946
 */
import { EigenvalueDecomposition } from "ml-matrix";
import { type Factors, stackFactors, truncate } from "../adapters/lora-algebra.ts";
import { type Matrix, matrix, multiply, multiplyTransposed, transpose } from "../adapters/matrix.ts";
import { qrOfTranspose } from "../adapters/qr.ts";
import { createRng } from "../base/rng.ts";
import { gramOf } from "./gram.ts";

/** Below this the QR is as fast. */
const LEAST_STACK = 96;
/** Further vectors of a block beyond the rank: they hasten the last ones wanted. */
const OVERSAMPLING = 8;
/** ||G_B G_A x − σ² x|| of what is found, as a share of the largest σ². */
const RESIDUAL = 1e-11;
/** Least σ² wanted, as a share of the largest: beyond it the Gram matrices' rounding shows. */
const LEAST_SHARE = 1e-10;
/** Vectors that are given up as combinations of the others. */
const DEPENDENT = 1e-22;
/** Vectors of the space beyond which its own eigenvalue problem costs more than the QR saves. */
const MOST_VECTORS = 512;

/** The same as `truncate` of the stack, to rounding. */
export function truncatedSum(
  parts: readonly Factors[],
  coefficients: readonly number[],
  rank: number,
): Factors {
  const stack = stackFactors(parts, coefficients);
  const stacked = stack.a.rows;
  if (stacked < LEAST_STACK || stacked < 3 * rank) return truncate(stack, rank);
  const columns = transpose(stack.b);
  const leading = leadingProducts(gramOf(stack.a), gramOf(columns), rank);
  if (leading === undefined) return truncate(stack, rank);
  const images = qrOfTranspose(multiply(leading, columns));
  const u = images.apply(identity(rank));
  const inside = multiplyTransposed(transpose(u), columns); // Uᵀ B
  return truncate({ b: u, a: multiply(inside, stack.a) }, rank);
}

/** G_A x of the leading x as rows, or undefined where this way is not exact enough or too long. */
function leadingProducts(gramA: Matrix, gramB: Matrix, rank: number): Matrix | undefined {
  const size = gramA.rows;
  const rng = createRng("truncated-sum");
  const vectors: Float64Array[] = [];
  const products: Float64Array[] = [];
  const projected: Float64Array[] = [];

  /** Takes the part of w that is new into the space. @returns coefficients of w in it, the new one's last */
  const extend = (w: Float64Array): Float64Array => {
    const coefficients = new Float64Array(vectors.length + 1);
    for (let pass = 0; pass < 2; pass++) {
      const steps = products.map((p) => dot(p, w));
      for (const [i, step] of steps.entries()) {
        coefficients[i]! += step;
        subtract(w, step, vectors[i]!);
      }
    }
    const image = times(gramA, w);
    const squared = dot(w, image);
    if (!(squared > DEPENDENT * (squared + dot(coefficients, coefficients)))) return coefficients;
    const norm = Math.sqrt(squared);
    coefficients[vectors.length] = norm;
    vectors.push(w.map((value) => value / norm));
    products.push(image.map((value) => value / norm));
    return coefficients;
  };

  for (let k = 0; k < Math.min(size, rank + OVERSAMPLING); k++) {
    extend(Float64Array.from({ length: size }, () => rng.normal()));
  }
  let check = 2 * (rank + OVERSAMPLING);
  while (projected.length < vectors.length) {
    projected.push(extend(times(gramB, products[projected.length]!)));
    const done = projected.length === vectors.length;
    if (!done && projected.length < check) continue;
    check = Math.ceil(check * 1.5);
    const found = ritz(projected, rank);
    if (found === undefined) return undefined;
    if (done || found.residual <= RESIDUAL * found.largest) {
      if (!(found.least > LEAST_SHARE * found.largest)) return undefined;
      const rows = matrix(rank, size);
      for (const [k, weights] of found.vectors.entries()) {
        const row = rows.data.subarray(k * size, (k + 1) * size);
        for (const [i, weight] of weights.entries()) subtract(row, -weight, products[i]!);
      }
      return rows;
    }
    if (projected.length > MOST_VECTORS) return undefined;
  }
  return undefined;
}

/** The largest eigenvalues of the projection and their vectors; undefined where the space has fewer than `rank`. */
function ritz(projected: readonly Float64Array[], rank: number) {
  const size = projected.length;
  if (size < rank) return undefined;
  const entry = (i: number, j: number) => projected[j]![i] ?? 0;
  const square = Array.from({ length: size }, (_, i) =>
    Array.from({ length: size }, (__, j) => (entry(i, j) + entry(j, i)) / 2),
  );
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(square, {
    assumeSymmetric: true,
  });
  const order = realEigenvalues
    .map((_, k) => k)
    .sort((i, j) => realEigenvalues[j]! - realEigenvalues[i]!)
    .slice(0, rank);
  const vectors = order.map((k) => Array.from({ length: size }, (_, j) => eigenvectorMatrix.get(j, k)));
  let residual = 0;
  const beyond = Math.max(...projected.map(({ length }) => length));
  for (const weights of vectors) {
    let squared = 0;
    for (let i = size; i < beyond; i++) {
      squared += weights.reduce((sum, weight, j) => sum + weight * entry(i, j), 0) ** 2;
    }
    residual = Math.max(residual, Math.sqrt(squared));
  }
  return {
    vectors,
    residual,
    largest: realEigenvalues[order[0]!]!,
    least: realEigenvalues[order[rank - 1]!]!,
  };
}

function identity(size: number): Matrix {
  const result = matrix(size, size);
  for (let i = 0; i < size; i++) result.data[i * size + i] = 1;
  return result;
}

/** Of a symmetric matrix; four sums at once, since each waits for its last addition. */
function times({ rows, data }: Matrix, x: Float64Array): Float64Array {
  const y = new Float64Array(rows);
  let i = 0;
  for (; i + 3 < rows; i += 4) {
    let [a, b, c, d] = [0, 0, 0, 0];
    const [at, bt, ct, dt] = [i * rows, (i + 1) * rows, (i + 2) * rows, (i + 3) * rows];
    for (let j = 0; j < rows; j++) {
      const value = x[j]!;
      a += data[at + j]! * value;
      b += data[bt + j]! * value;
      c += data[ct + j]! * value;
      d += data[dt + j]! * value;
    }
    y[i] = a;
    y[i + 1] = b;
    y[i + 2] = c;
    y[i + 3] = d;
  }
  for (; i < rows; i++) y[i] = dot(data.subarray(i * rows, (i + 1) * rows), x);
  return y;
}

function dot(x: Float64Array, y: Float64Array): number {
  let total = 0;
  for (let i = 0; i < x.length; i++) total += x[i]! * y[i]!;
  return total;
}

/** x −= factor · y */
function subtract(x: Float64Array, factor: number, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) x[i] = x[i]! - factor * y[i]!;
}
