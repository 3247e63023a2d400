/** Distances between products from Gram matrices, against the dense products. */
import { expect, test } from "vitest";
import { matrix } from "../../adapters/matrix.ts";
import type { ScaledFactors } from "../../aggregators/modules.ts";
import { productDistances } from "../../aggregators/product-distances.ts";
import { createRng } from "../../base/rng.ts";

function drawn(rows: number, cols: number, seed: string) {
  const rng = createRng(seed);
  return Float64Array.from({ length: rows * cols }, () => rng.normal());
}

/** Clients at `spread` from a common start of size 1. */
function clients(n: number, spread: number, ranks: readonly number[] = [3]): ScaledFactors[] {
  return Array.from({ length: n }, (_, k) => {
    const rank = ranks[k % ranks.length]!;
    const moved = (rows: number, cols: number, name: string) => {
      const away = drawn(rows, cols, `${name}${k}`);
      return matrix(
        rows,
        cols,
        drawn(rows, cols, name).map((value, i) => value + spread * away[i]!),
      );
    };
    return { factors: { a: moved(rank, 17, "a"), b: moved(11, rank, "b") }, scale: 6 / rank };
  });
}

function dense({ factors: { a, b }, scale }: ScaledFactors): number[] {
  return Array.from({ length: b.rows * a.cols }, (_, at) => {
    const [i, j] = [Math.floor(at / a.cols), at % a.cols];
    let total = 0;
    for (let k = 0; k < a.rows; k++) total += scale * b.data[i * b.cols + k]! * a.data[k * a.cols + j]!;
    return total;
  });
}

function distancesOf(list: readonly ScaledFactors[]): Map<string, number> {
  const found = new Map<string, number>();
  productDistances(list, (i, j, squared) => found.set(`${i} ${j}`, squared));
  return found;
}

test.each([
  ["far apart", clients(9, 2), 1e-12],
  ["near each other: dense products of size 10 lose what is squared below 1e-5", clients(9, 1e-4), 1e-9],
  ["of several ranks and scales", clients(6, 0.5, [3, 2, 4]), 1e-12],
])("are those of the dense products for clients %s", (_, list, tolerance) => {
  const found = distancesOf(list);
  const products = list.map(dense);
  expect(found.size).toBe((list.length * (list.length - 1)) / 2);
  for (let i = 0; i < list.length; i++) {
    for (let j = i + 1; j < list.length; j++) {
      const wanted = products[i]!.reduce((sum, x, at) => sum + (x - products[j]![at]!) ** 2, 0);
      expect(Math.abs(found.get(`${i} ${j}`)! / wanted - 1)).toBeLessThan(tolerance);
    }
  }
});

test("equal products are at distance 0", () => {
  const [one, other] = clients(2, 1);
  expect([...distancesOf([one!, other!, one!])].filter(([, squared]) => squared === 0)).toEqual([["0 2", 0]]);
});
