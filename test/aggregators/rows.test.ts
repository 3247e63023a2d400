/** Products of many rows in the kernels' memory, against the same sums in JavaScript. */
import { expect, test } from "vitest";
import { createRowSpace, type RowSpace, type Rows } from "../../aggregators/rows.ts";
import { createRng } from "../../base/rng.ts";

/** Another order of up to some thousand float64 terms of size 1. */
const ROUNDING = 1e-10;

function drawn(space: RowSpace, count: number, length: number, seed: string): Rows {
  const rows = space.rows(count, length);
  const rng = createRng(seed);
  for (let i = 0; i < count; i++) {
    const row = rows.row(i);
    for (let j = 0; j < length; j++) row[j] = rng.normal();
  }
  return rows;
}

function dot(x: Float64Array, y: Float64Array): number {
  return x.reduce((sum, value, i) => sum + value * y[i]!, 0);
}

const entries = (rows: Rows) => Array.from({ length: rows.count }, (_, i) => [...rows.row(i)]);

test.each([
  [1, 1, 1],
  [3, 5, 7],
  [16, 33, 520],
  [7, 18, 1025],
])("inner products of %i rows with %i of length %i", (m, n, length) => {
  const space = createRowSpace();
  const [x, y, into] = [drawn(space, m, length, "x"), drawn(space, n, length, "y"), space.rows(m, n)];
  space.inner(x, y, into);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++)
      expect(Math.abs(into.row(i)[j]! - dot(x.row(i), y.row(j)))).toBeLessThan(ROUNDING);
  }
});

test.each([1, 2, 5, 51])(
  "a Gram matrix of %i rows is that of their inner products, and symmetric to the bit",
  (count) => {
    const space = createRowSpace();
    const x = drawn(space, count, 3001, "x");
    const [gram, products] = [space.rows(count, count), space.rows(count, count)];
    space.gram(x, gram);
    space.inner(x, x, products);
    for (let i = 0; i < count; i++) {
      for (let j = 0; j < count; j++) {
        expect(gram.row(i)[j]).toBe(gram.row(j)[i]);
        expect(Math.abs(gram.row(i)[j]! - products.row(i)[j]!)).toBeLessThan(ROUNDING);
      }
    }
  },
);

test.each([
  [1, 1, 1],
  [3, 5, 7],
  [16, 33, 520],
  [6, 17, 1025],
])(
  "adds combinations of rows to %i rows, from %i of length %i, and leaves the memory beside them",
  (m, n, length) => {
    const space = createRowSpace();
    const [shares, x] = [drawn(space, m, n, "shares"), drawn(space, n, length, "x")];
    const [into, beside] = [drawn(space, m, length, "into"), drawn(space, 2, length, "beside")];
    const [before, neighbors] = [entries(into), entries(beside)];
    space.addCombinations(shares, x, into, -1);
    for (let i = 0; i < m; i++) {
      for (let e = 0; e < length; e++) {
        let wanted = before[i]![e]!;
        for (let j = 0; j < n; j++) wanted -= shares.row(i)[j]! * x.row(j)[e]!;
        expect(Math.abs(into.row(i)[e]! - wanted)).toBeLessThan(ROUNDING);
      }
    }
    expect(entries(beside)).toEqual(neighbors);
  },
);

test("rows of a part are those of the whole, and new rows are zeros where old ones were given up", () => {
  const space = createRowSpace();
  const all = drawn(space, 9, 40, "all");
  const part = all.part(3, 5);
  const products = space.rows(5, 9);
  space.inner(part, all, products);
  for (let i = 0; i < 5; i++) {
    expect([...part.row(i)]).toEqual([...all.row(3 + i)]);
    expect(products.row(i)[3 + i]).toBeCloseTo(dot(all.row(3 + i), all.row(3 + i)), 10);
  }
  space.clear();
  expect(
    entries(space.rows(20, 100))
      .flat()
      .every((value) => value === 0),
  ).toBe(true);
});
