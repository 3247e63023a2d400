/** The WebAssembly loops against the same arithmetic in JavaScript. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createGram } from "../../aggregators/gram.ts";
import { PART, TILE } from "../../aggregators/kernels.ts";
import { createSorter, sortingNetwork } from "../../aggregators/sorter.ts";
import { createSummer } from "../../aggregators/summer.ts";
import { createRng } from "../../base/rng.ts";

const LENGTHS = [1, 7, 8, 9, 1000, PART - 1, PART];

function drawn(length: number, seed: string): Float32Array {
  const rng = createRng(seed);
  return Float32Array.from({ length }, () => rng.normal());
}

test.each(LENGTHS)(
  "a summer gives the bits of sum + share * x, one client after the other, for %i elements",
  (length) => {
    const summer = createSummer();
    summer.begin(PART); // whatever lay in the slots before
    for (let k = 0; k < 4; k++) summer.add(1, (target) => target.fill(Number.NaN));
    summer.finish();
    for (const clients of [1, 4, 6]) {
      const wanted = new Float64Array(length);
      summer.begin(length);
      for (let k = 0; k < clients; k++) {
        const [x, share] = [drawn(length, `x${k}`), [1 / 7, 0.3, 1e-300][k % 3]!];
        summer.add(share, (target) => target.set(x));
        for (let i = 0; i < length; i++) wanted[i] = wanted[i]! + share * x[i]!;
      }
      expect([...summer.rounded()]).toEqual([...Float32Array.from(wanted)]);
      expect(summer.sum.slice(0, length)).toEqual(wanted);
      expect(summer.sum.subarray(length).every((value) => value === 0)).toBe(true);
    }
  },
);

test.each([
  [1, 5],
  [3, 1000],
  [6, PART],
  [9, 33],
])("a gram of %i rows holds the inner products of their %i differences from the center", (rows, length) => {
  const gram = createGram(rows);
  const parts = 2;
  const wanted = Array.from({ length: rows }, () => new Float64Array(rows));
  for (let part = 0; part < parts; part++) {
    const center = drawn(length, `center ${part}`);
    const values = Array.from({ length: rows }, (_, k) => drawn(length, `${part} ${k}`));
    gram.center.set(center);
    for (const [k, row] of values.entries()) gram.row(k).set(row);
    gram.addDifferences(length);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < rows; j++) {
        for (let e = 0; e < length; e++) {
          wanted[i]![j]! += (values[i]![e]! - center[e]!) * (values[j]![e]! - center[e]!);
        }
      }
    }
  }
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) {
      const size = Math.sqrt(wanted[i]![i]! * wanted[j]![j]!);
      expect(gram.at(i, j)).toBe(gram.at(j, i));
      // Another order of up to 32768 float64 terms.
      expect(Math.abs(gram.at(i, j) - wanted[i]![j]!)).toBeLessThan(1e-13 * size);
    }
  }
});

test("a gram keeps differences of 1e-4 between weights of 30, which float32 products lose", () => {
  const gram = createGram(2);
  gram.center.fill(30);
  gram.row(0).fill(30);
  gram.row(1).fill(Math.fround(30.0001));
  gram.addDifferences(PART);
  const step = Math.fround(30.0001) - 30;
  expect(gram.at(1, 1) / (PART * step * step)).toBeCloseTo(1, 12);
  expect([gram.at(0, 0), gram.at(0, 1)]).toEqual([0, 0]);
});

test("equal rows have equal products, to the last bit, wherever they stand", () => {
  const gram = createGram(7);
  for (let k = 0; k < 7; k++) gram.row(k).set(drawn(4099, k === 1 || k === 6 ? "same" : `${k}`));
  gram.addDifferences(4099);
  expect(gram.at(1, 1) + gram.at(6, 6) - 2 * gram.at(1, 6)).toBe(0);
  for (const other of [0, 3, 5]) expect(gram.at(other, 1)).toBe(gram.at(other, 6));
});

test("the network sorts any number of values", () => {
  fc.assert(
    fc.property(fc.array(fc.integer(), { minLength: 1, maxLength: 70 }), (values) => {
      const sorted = [...values];
      for (const [low, high] of sortingNetwork(values.length)) {
        if (sorted[low]! > sorted[high]!) [sorted[low], sorted[high]] = [sorted[high]!, sorted[low]!];
      }
      expect(sorted).toEqual([...values].sort((a, b) => a - b));
    }),
  );
});

test("a sorter puts the wanted places of every column in order, whatever the number of clients", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 130 }), fc.nat(), fc.nat(), fc.nat(), (rows, a, b, seed) => {
      const ranks = [a % rows, b % rows].sort((x, y) => x - y) as [number, number];
      const sorter = createSorter(rows, ranks);
      const values = Array.from({ length: rows }, (_, k) => drawn(3 * TILE, `${seed} ${k}`));
      for (const [k, row] of values.entries()) sorter.row(k).set(row);
      for (const from of [0, 2 * TILE]) {
        const sorted = sorter.tile(from).slice();
        for (let i = 0; i < TILE; i++) {
          const column = Float32Array.from(values, (row) => row[from + i]!).sort();
          for (let k = ranks[0]; k <= ranks[1]; k++) expect(sorted[k * TILE + i]).toBe(column[k]);
        }
      }
    }),
    { numRuns: 30 },
  );
});

test("of 0 and -0 a sorter loses neither", () => {
  for (const [first, second] of [
    [0, -0],
    [-0, 0],
  ] as const) {
    const sorter = createSorter(2);
    sorter.row(0).fill(first);
    sorter.row(1).fill(second);
    const sorted = sorter.tile(0);
    expect([sorted[0], sorted[TILE]].filter((value) => Object.is(value, -0))).toHaveLength(1);
  }
});
