import { SVD } from "ml-matrix";
import { describe, expect, test } from "vitest";
import {
  type Factors,
  factorsOf,
  productDot,
  productNorm,
  relativeProductError,
  stackedNorm,
  stackFactors,
  truncate,
} from "../../adapters/lora-algebra.ts";
import {
  frobenius,
  type Matrix,
  matrix,
  matrixOf,
  multiply,
  multiplyTransposed,
  scale,
  tensorOf,
  transpose,
  transposeMultiply,
} from "../../adapters/matrix.ts";
import { qr, qrOfTranspose } from "../../adapters/qr.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { factorPairs } from "../../adapters/tensor-names.ts";
import { createRng } from "../../base/rng.ts";

/** Sums of at most 200 products of numbers near 1 in float64. */
const ROUNDING = 1e-12;

function random(rows: number, cols: number, seed: string): Matrix {
  const rng = createRng(seed);
  return matrix(
    rows,
    cols,
    Float64Array.from({ length: rows * cols }, () => rng.normal()),
  );
}

const factors = (out: number, rank: number, width: number, seed: string): Factors => ({
  b: random(out, rank, `${seed} b`),
  a: random(rank, width, `${seed} a`),
});
const dense = ({ b, a }: Factors) => multiply(b, a);
const minus = (x: Matrix, y: Matrix) =>
  matrix(
    x.rows,
    x.cols,
    x.data.map((value, i) => value - y.data[i]!),
  );
const dot = (x: Matrix, y: Matrix) => x.data.reduce((sum, value, i) => sum + value * y.data[i]!, 0);
const relative = (x: Matrix, y: Matrix) => frobenius(minus(x, y)) / frobenius(y);

test("the products of matrices are what their definitions say", () => {
  const x = matrix(2, 3, [1, 2, 3, 4, 5, 6]);
  const y = matrix(3, 2, [7, 8, 9, 10, 11, 12]);
  // [1 2 3; 4 5 6]·[7 8; 9 10; 11 12]: 7+18+33, 8+20+36; 28+45+66, 32+50+72
  expect([...multiply(x, y).data]).toEqual([58, 64, 139, 154]);
  expect(multiplyTransposed(x, transpose(y))).toEqual(multiply(x, y));
  expect(transposeMultiply(transpose(x), y)).toEqual(multiply(x, y));
  expect(() => multiply(x, x)).toThrow("inner sizes are 3 and 2");
  expect(() => matrixOf(float32([3], [1, 2, 3]))).toThrow("two axes, got [3]");
  expect(tensorOf(x, "F32")).toEqual(float32([2, 3], [1, 2, 3, 4, 5, 6]));
});

describe("QR", () => {
  const SHAPES: [number, number][] = [
    [40, 6],
    [6, 6],
    [4, 9],
    [1, 3],
    [5, 1],
  ];

  test.each(SHAPES)("of %i x %i gives the matrix back, with orthonormal columns and a trapezoid", (m, n) => {
    const x = random(m, n, "qr");
    const { r, apply } = qr(x);
    expect(relative(apply(r), x)).toBeLessThan(ROUNDING);
    const identity = matrix(
      r.rows,
      r.rows,
      Array.from({ length: r.rows ** 2 }, (_, i) => Number(i % (r.rows + 1) === 0)),
    );
    const q = apply(identity);
    expect(frobenius(minus(transposeMultiply(q, q), identity))).toBeLessThan(ROUNDING);
    for (let i = 0; i < r.rows; i++) for (let j = 0; j < i; j++) expect(r.data[i * n + j]).toBe(0);
    expect(qrOfTranspose(transpose(x)).r).toEqual(r);
  });

  test("of columns that depend on each other, of zeros and of huge entries stays finite and exact", () => {
    const column = random(7, 1, "column");
    const twice = matrix(
      7,
      2,
      Float64Array.from({ length: 14 }, (_, i) => column.data[i >> 1]!),
    );
    expect(relative(qr(twice).apply(qr(twice).r), twice)).toBeLessThan(ROUNDING);
    expect([...qr(matrix(3, 2)).apply(qr(matrix(3, 2)).r).data]).toEqual([0, 0, 0, 0, 0, 0]);
    const huge = scale(random(5, 3, "huge"), 1e200);
    expect(relative(scale(qr(huge).apply(qr(huge).r), 1e-200), scale(huge, 1e-200))).toBeLessThan(ROUNDING);
  });
});

describe("products of factors", () => {
  const x = factors(30, 4, 17, "x");
  const y = factors(30, 7, 17, "y");

  test("have the inner product and norm of the dense matrices, also between unequal ranks", () => {
    expect(productDot(x, y)).toBeCloseTo(dot(dense(x), dense(y)), 9);
    expect(productNorm(x)).toBeCloseTo(frobenius(dense(x)), 9);
    expect(stackedNorm(x)).toBeCloseTo(frobenius(dense(x)), 9);
  });

  test("stack to their weighted sum, exactly, also for unequal ranks", () => {
    const stack = stackFactors([x, y, x], [0.5, -2, 3]);
    const sum = matrix(
      30,
      17,
      dense(x).data.map((value, i) => 3.5 * value - 2 * dense(y).data[i]!),
    );
    expect([stack.b.cols, stack.a.rows]).toEqual([15, 15]);
    expect(relative(dense(stack), sum)).toBeLessThan(ROUNDING);
  });

  test("of other sizes are refused", () => {
    expect(() => productDot(x, factors(17, 4, 30, "z"))).toThrow("must both be 30 x 17, got 17 x 30");
    expect(() => stackFactors([x], [])).toThrow("one coefficient each, got 1 and 0");
    expect(() => stackFactors([], [])).toThrow("one coefficient each, got 0 and 0");
  });

  test("come from the tensors of an adapter", () => {
    const name = "base_model.model.q";
    const set = tensorSet([
      [`${name}.lora_A.weight`, float32([1, 2], [1, 2])],
      [`${name}.lora_B.weight`, float32([3, 1], [3, 4, 5])],
    ]);
    const [pair] = factorPairs(set.keys());
    expect([...dense(factorsOf(set, pair!)).data]).toEqual([3, 6, 4, 8, 5, 10]);
  });
});

describe("relative product error", () => {
  const x = factors(30, 4, 17, "x");

  test("is the dense one", () => {
    const y = factors(30, 4, 17, "y");
    expect(relativeProductError(x, y)).toBeCloseTo(relative(dense(y), dense(x)), 10);
  });

  test("is near rounding for the same product in another gauge, where Gram traces would see 1e-8", () => {
    const gauge = { b: scale(x.b, 3), a: scale(x.a, 1 / 3) };
    expect(relativeProductError(x, gauge)).toBeLessThan(1e-14);
  });

  test("of zero from zero is 0, of something from zero infinite", () => {
    const zero = { b: matrix(30, 4), a: x.a };
    expect(relativeProductError(zero, zero)).toBe(0);
    expect(relativeProductError(zero, x)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("truncation", () => {
  const stack = stackFactors(
    [factors(30, 4, 17, "1"), factors(30, 4, 17, "2"), factors(30, 2, 17, "3")],
    [0.2, 0.3, 0.5],
  );

  test("is the truncated SVD of the dense product", () => {
    const whole = dense(stack);
    const rows = Array.from({ length: 30 }, (_, i) => [...whole.data.subarray(i * 17, (i + 1) * 17)]);
    const reference = new SVD(rows);
    for (const rank of [1, 3, 10]) {
      const { singularValues, ...kept } = truncate(stack, rank);
      const wanted = reference.diagonal.slice(0, rank);
      for (const [j, value] of wanted.entries()) expect(singularValues[j]).toBeCloseTo(value, 9);
      // ||W - W_r||² is the sum of the squares left out.
      const lost = Math.sqrt(reference.diagonal.slice(rank).reduce((sum, s) => sum + s * s, 0));
      expect(frobenius(minus(whole, dense(kept)))).toBeCloseTo(lost, 9);
    }
  });

  test("puts the singular values into b, and the largest entry of each row of a is positive", () => {
    const { a, b, singularValues } = truncate(stack, 5);
    expect(frobenius(minus(multiplyTransposed(a, a), eye(5)))).toBeLessThan(ROUNDING);
    const squares = eye(5).data.map((one, i) => one * singularValues[i % 5]! ** 2);
    expect(relative(transposeMultiply(b, b), matrix(5, 5, squares))).toBeLessThan(ROUNDING);
    for (let j = 0; j < 5; j++) {
      const row = [...a.data.subarray(j * 17, (j + 1) * 17)];
      expect(Math.max(...row)).toBe(Math.max(...row.map(Math.abs)));
    }
  });

  test("does not depend on the gauge or the order of the parts", () => {
    const parts = [factors(30, 4, 17, "1"), factors(30, 3, 17, "2")];
    const one = truncate(stackFactors(parts, [1, 2]), 4);
    const negated = parts.map(({ a, b }) => ({ a: scale(a, -2), b: scale(b, -0.5) })).reverse();
    const other = truncate(stackFactors(negated, [2, 1]), 4);
    expect(relative(other.a, one.a)).toBeLessThan(1e-10);
    expect(relative(other.b, one.b)).toBeLessThan(1e-10);
  });

  test("beyond the product's rank gives zeros in b and keeps a's rows alive as far as there are any", () => {
    const x = factors(6, 2, 5, "low");
    const doubled = stackFactors([x, x], [1, 1]); // rank 2, stacked rank 4
    const { a, b, singularValues } = truncate(doubled, 7);
    expect([...singularValues.subarray(2)]).toEqual([0, 0, 0, 0, 0]);
    expect(relative(multiply(b, a), scale(dense(x), 2))).toBeLessThan(ROUNDING);
    expect(
      frobenius(
        minus(
          multiplyTransposed(a, a),
          matrix(
            7,
            7,
            eye(7).data.map((one, i) => (i < 28 ? one : 0)),
          ),
        ),
      ),
    ).toBeLessThan(ROUNDING);
  });

  test("of a product wider than its stack, and of a stack wider than the product", () => {
    for (const [out, rank, width] of [
      [3, 8, 40],
      [40, 8, 3],
      [3, 8, 4],
      [1, 1, 1],
    ] as const) {
      const x = factors(out, rank, width, `${out}`);
      expect(relative(multiply(truncate(x, rank).b, truncate(x, rank).a), dense(x))).toBeLessThan(ROUNDING);
    }
  });

  test("of nothing is nothing, with a still able to learn", () => {
    const { a, b } = truncate({ b: matrix(6, 2), a: random(2, 5, "a") }, 2);
    expect(frobenius(b)).toBe(0);
    expect(frobenius(minus(multiplyTransposed(a, a), eye(2)))).toBeLessThan(ROUNDING);
  });

  test("wants a rank", () => {
    expect(() => truncate(stack, 0)).toThrow(RangeError);
  });
});

function eye(n: number): Matrix {
  return matrix(
    n,
    n,
    Float64Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0)),
  );
}
