/** The leading part of a long sum of products, against QR and SVD of the whole. */
import { expect, test } from "vitest";
import { type Factors, stackFactors, truncate } from "../../adapters/lora-algebra.ts";
import {
  frobenius,
  type Matrix,
  matrix,
  multiply,
  multiplyTransposed,
  scale,
} from "../../adapters/matrix.ts";
import { truncatedSum } from "../../aggregators/truncated-sum.ts";
import { createRng } from "../../base/rng.ts";

/** Both are float64 programs; a product's entries carry the rounding of its largest singular value. */
const ROUNDING = 1e-10;

function drawn(rows: number, cols: number, seed: string, scale = 1): Matrix {
  const rng = createRng(seed);
  return matrix(
    rows,
    cols,
    Float64Array.from({ length: rows * cols }, () => scale * rng.normal()),
  );
}

const product = ({ a, b }: Factors) => multiply(b, a);

function distance(x: Factors, y: Factors): number {
  const [p, q] = [product(x), product(y)];
  return frobenius({ ...p, data: p.data.map((value, i) => value - q.data[i]!) });
}

/** n clients of rank r near a common start, as those of a round are, or far apart. */
function clients(n: number, r: number, spread: number, out = 70, width = 130): Factors[] {
  const start = { a: drawn(r, width, "a"), b: drawn(out, r, "b") };
  return Array.from({ length: n }, (_, k) => {
    const [a, b] = [drawn(r, width, `a${k}`, spread), drawn(out, r, `b${k}`, spread)];
    return {
      a: { ...a, data: a.data.map((value, i) => value + start.a.data[i]!) },
      b: { ...b, data: b.data.map((value, i) => value + start.b.data[i]!) },
    };
  });
}

test.each([
  ["near each other", 24, 5, 0.05, 5],
  ["far apart", 32, 4, 5, 4],
  ["more than either side is long", 40, 4, 1, 6],
  ["cut far below their own rank", 15, 8, 0.3, 2],
])("is that of QR and SVD for clients that are %s", (_, n, r, spread, rank) => {
  const parts = clients(n, r, spread);
  const shares = parts.map((__, k) => (k + 1) / 50);
  const [ours, exact] = [truncatedSum(parts, shares, rank), truncate(stackFactors(parts, shares), rank)];
  expect(ours.a.rows).toBe(rank);
  expect(distance(ours, exact)).toBeLessThan(ROUNDING * exact.singularValues[0]!);
  // A = Vᵀ, and B holds the singular values.
  const gram = multiplyTransposed(ours.a, ours.a);
  for (let i = 0; i < rank; i++) {
    for (let j = 0; j < rank; j++) {
      expect(gram.data[i * rank + j]).toBeCloseTo(i === j ? 1 : 0, 12);
      expect(ours.b.data[j]).toBeCloseTo(exact.b.data[j]!, 8);
    }
  }
});

test("singular values that occur several times are all found", () => {
  // Orthonormal rows and columns: singular values 3, 3, 3, 3, 2, 2, … and no direction is better than its twin.
  const size = 120;
  const unit = (at: number): Factors => {
    const [a, b] = [matrix(1, size), matrix(size, 1)];
    a.data[at] = 1;
    b.data[(at * 7) % size] = 1;
    return { a, b };
  };
  const parts = Array.from({ length: 112 }, (_, k) => unit(k));
  const shares = parts.map((_, k) => (k % 28 === 3 ? 3 : k % 28 === 5 ? 2 : 1));
  const ours = truncatedSum(parts, shares, 8);
  const lengths = Array.from({ length: 8 }, (_, j) =>
    Math.hypot(...Array.from({ length: size }, (__, i) => ours.b.data[i * 8 + j]!)),
  );
  for (const [j, length] of lengths.entries()) expect(length).toBeCloseTo(j < 4 ? 3 : 2, 10);
});

test.each([
  ["all the same client", () => Array.from({ length: 30 }, () => clients(1, 4, 0.1)[0]!)],
  ["zero", () => clients(30, 4, 1).map(({ a, b }) => ({ a, b: matrix(b.rows, b.cols) }))],
])("a sum of less rank than asked for is exact: %s", (_, make) => {
  const parts = make();
  const shares = parts.map(() => 1 / parts.length);
  const ours = truncatedSum(parts, shares, 6);
  const exact = stackFactors(parts, shares);
  expect(distance(ours, exact)).toBeLessThan(ROUNDING * (1 + frobenius(product(exact))));
});

test.each([
  ["long flat spectra, for which the space is begun anew", 30, 8, 8, 5],
  ["a stack that is short, and longer than one block", 12, 4, 4, 1],
])("finds the leading part of %s", (_, n, r, rank, spread) => {
  const parts = clients(n, r, spread, 300, 280);
  const shares = parts.map((__, k) => (k + 1) / 50);
  const [ours, exact] = [truncatedSum(parts, shares, rank), truncate(stackFactors(parts, shares), rank)];
  expect(distance(ours, exact)).toBeLessThan(ROUNDING * exact.singularValues[0]!);
});

test.each([28, 33, 40, 47, 55, 64])(
  "rows of A that are combinations of others (%i clients, 71 columns) bring no vectors of rounding alone into the space",
  (n) => {
    const parts = clients(n, 2, 1, 126, 71).map(({ a, b }, k) => ({
      a: scale(a, 10 ** -(k % 4)),
      b: scale(b, 10 ** (k % 3)),
    }));
    const shares = parts.map((_, k) => ((7 * k) % 11) + 1);
    const [ours, exact] = [truncatedSum(parts, shares, 8), truncate(stackFactors(parts, shares), 8)];
    expect(distance(ours, exact)).toBeLessThan(ROUNDING * exact.singularValues[0]!);
    const first = (x: Factors) => ({ a: firstRow(x.a), b: firstColumn(x.b) });
    expect(distance(first(ours), first(exact))).toBeLessThan(ROUNDING * exact.singularValues[0]!);
  },
);

const firstRow = ({ cols, data }: Matrix) => matrix(1, cols, data.slice(0, cols));
const firstColumn = ({ rows, cols, data }: Matrix) =>
  matrix(
    rows,
    1,
    Float64Array.from({ length: rows }, (_, i) => data[i * cols]!),
  );

test("equal parts give equal bits, whatever was computed before in the same memory", () => {
  const parts = clients(24, 5, 1);
  const shares = parts.map(() => 1 / parts.length);
  const first = truncatedSum(parts, shares, 5);
  truncatedSum(
    clients(40, 8, 1, 200, 90),
    Array.from({ length: 40 }, () => -3),
    6,
  );
  const huge = parts.map(({ a, b }) => ({ a: scale(a, 1e150), b: scale(b, 1e150) })); // squares overflow
  expect(() => truncatedSum(huge, shares, 5)).not.toThrow();
  expect(truncatedSum(parts, shares, 5)).toEqual(first);
});
