/**
 * The best approximation of a given rank for a sum of many products, Σ c_k B_k A_k = B·A with R = Σ r_k rows and columns.
 *
 * A QR of both stacks and an SVD of the R x R core (adapters/lora-algebra.ts) cost out · R² + R³ and end with R singular
 * values of which few are wanted. Here only the space of the wanted ones is looked for (leading-space.ts), by products
 * with the factors, in vector instructions. With vectors p = A v of that space, U = orth(B p) is made from the factors
 * themselves and the result is U (Uᵀ B A), whose rounding is that of one product. Where a wanted singular value lies so
 * low that squares do not show it, the QR decides instead.
 */
import { type Factors, stackFactors, truncate } from "../adapters/lora-algebra.ts";
import { type Matrix, matrix, transpose } from "../adapters/matrix.ts";
import { qrOfTranspose } from "../adapters/qr.ts";
import { leadingSpace } from "./leading-space.ts";
import { type RowSpace, type Rows, scratchRows } from "./rows.ts";

/** Below this the QR is as fast. */
const LEAST_STACK = 48;
/** The kernels address 4 GiB: both stacks and as much again beside them. */
const MOST_BYTES = 1.5 * 2 ** 30;

/** The same as `truncate` of the stack, to rounding. */
export function truncatedSum(
  parts: readonly Factors[],
  coefficients: readonly number[],
  rank: number,
): Factors {
  const stacked = parts.reduce((sum, { a }) => sum + a.rows, 0);
  const bytes = 8 * stacked * (parts[0]!.a.cols + parts[0]!.b.rows);
  if (stacked >= LEAST_STACK && stacked >= 3 * rank && bytes < MOST_BYTES) {
    const leading = leadingPart(scratchRows, parts, coefficients, rank);
    scratchRows.clear();
    if (leading !== undefined) return truncate(leading, rank);
  }
  return truncate(stackFactors(parts, coefficients), rank);
}

function leadingPart(
  space: RowSpace,
  parts: readonly Factors[],
  coefficients: readonly number[],
  rank: number,
): Factors | undefined {
  const stacked = parts.reduce((sum, { a }) => sum + a.rows, 0);
  const [out, width] = [parts[0]!.b.rows, parts[0]!.a.cols];
  const { rows, inner, addCombinations } = space;
  const a = rows(stacked, width);
  const b = rows(stacked, out); // columns of B
  let at = 0;
  for (const [k, part] of parts.entries()) {
    const columns = transpose(part.b);
    for (let i = 0; i < part.a.rows; i++, at++) {
      const row = a.row(at);
      for (let j = 0; j < width; j++) row[j] = coefficients[k]! * part.a.data[i * width + j]!;
      b.row(at).set(columns.data.subarray(i * out, (i + 1) * out));
    }
  }
  const leading = leadingSpace(space, a, b, rank);
  if (leading === undefined) return undefined;
  const images = rows(rank, out);
  addCombinations(leading, b, images);
  const u = qrOfTranspose(matrixOf(images)).apply(identity(rank));
  const axes = rows(rank, out);
  for (let k = 0; k < rank; k++) {
    const axis = axes.row(k);
    for (let i = 0; i < out; i++) axis[i] = u.data[i * rank + k]!;
  }
  const inside = rows(rank, stacked); // Uᵀ B
  inner(axes, b, inside);
  const right = rows(rank, width);
  addCombinations(inside, a, right);
  return { b: u, a: matrixOf(right) };
}

function matrixOf({ count, length, row }: Rows): Matrix {
  const copy = matrix(count, length);
  for (let i = 0; i < count; i++) copy.data.set(row(i), i * length);
  return copy;
}

function identity(size: number): Matrix {
  const result = matrix(size, size);
  for (let i = 0; i < size; i++) result.data[i * size + i] = 1;
  return result;
}
