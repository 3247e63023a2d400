/** Adapters that start from the base's own weights (YOCO, section 4). */
import { afterAll, beforeAll, expect, test } from "vitest";
import { floats } from "../../adapters/cast.ts";
import { factorsOf, truncate } from "../../adapters/lora-algebra.ts";
import { frobenius, matrix, multiply } from "../../adapters/matrix.ts";
import { factorPairs } from "../../adapters/tensor-names.ts";
import { createRng } from "../../base/rng.ts";
import { placesOf } from "../../training/merge/places.ts";
import { openGraphFile } from "../../training/onnx/edge/files.ts";
import { valuesOf } from "../../training/onnx/weight.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import { leadingOf } from "../../training/singular-init.ts";
import type { AdapterRequest, Trainer } from "../../training/trainer.ts";

const MODEL = new URL("../../assets/models/smolvlm-tiny", import.meta.url).pathname;
const REQUEST: AdapterRequest = {
  rank: 4,
  alpha: 4,
  rslora: false,
  dropout: 0,
  targets: ["q_proj"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

function drawn(rows: number, cols: number, seed: string) {
  const rng = createRng(seed);
  return matrix(
    rows,
    cols,
    Float64Array.from({ length: rows * cols }, () => rng.normal()),
  );
}

test("the leading part of a dense matrix is that of its whole decomposition", () => {
  const weight = multiply(drawn(50, 20, "x"), drawn(20, 70, "y"));
  const identity = matrix(50, 50);
  for (let i = 0; i < 50; i++) identity.data[i * 51] = 1;
  const exact = truncate({ b: identity, a: weight }, 5);
  const ours = leadingOf(weight, 5);
  for (const [k, value] of exact.singularValues.entries()) {
    expect(ours.singularValues[k]! / value).toBeCloseTo(1, 10);
  }
  const difference = multiply(ours.b, ours.a);
  const wanted = multiply(exact.b, exact.a);
  const error = frobenius({ ...wanted, data: wanted.data.map((x, i) => x - difference.data[i]!) });
  // Values have settled to 1e-13, vectors to the root of that.
  expect(error / frobenius(wanted)).toBeLessThan(1e-5);
});

let trainer: Trainer;
beforeAll(async () => {
  trainer = await openOnnxTrainer({ model: MODEL, threads: 1 });
});
afterAll(() => trainer.close());

test("B A is the best approximation of the base's weight, its singular values shared out evenly", async () => {
  const { tensors } = await trainer.createAdapter({ ...REQUEST, init: "svd" }, "1");
  const find = placesOf(openGraphFile(`${MODEL}/onnx/decoder_model_merged.onnx`));
  const pairs = factorPairs(tensors.keys());
  expect(pairs.length).toBe(2);
  for (const pair of pairs) {
    const { rows, columns, start, rowStep, columnStep, weight } = find(pair.b)[0]!;
    const values = valuesOf(weight);
    const dense = matrix(rows, columns);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        dense.data[i * columns + j] = Number(values[start + i * rowStep + j * columnStep]);
      }
    }
    const factors = factorsOf(tensors, pair);
    const identity = matrix(rows, rows);
    for (let i = 0; i < rows; i++) identity.data[i * (rows + 1)] = 1;
    const exact = truncate({ b: identity, a: dense }, 4);
    const [ours, wanted] = [multiply(factors.b, factors.a), multiply(exact.b, exact.a)];
    const error = frobenius({ ...wanted, data: wanted.data.map((x, i) => x - ours.data[i]!) });
    expect(error / frobenius(wanted)).toBeLessThan(1e-4); // float32 factors, near singular values
    for (let k = 0; k < 4; k++) {
      const row = Math.hypot(...factors.a.data.subarray(k * columns, (k + 1) * columns));
      expect(row ** 2 / exact.singularValues[k]!).toBeCloseTo(1, 5);
    }
  }
});

test("svd-b takes B alone and leaves A as it is drawn", async () => {
  const [random, both, left] = [
    await trainer.createAdapter(REQUEST, "1"),
    await trainer.createAdapter({ ...REQUEST, init: "svd" }, "1"),
    await trainer.createAdapter({ ...REQUEST, init: "svd-b" }, "1"),
  ];
  for (const { a, b } of factorPairs(random.tensors.keys())) {
    expect(floats(left.tensors.get(a)!)).toEqual(floats(random.tensors.get(a)!));
    expect(floats(left.tensors.get(b)!)).toEqual(floats(both.tensors.get(b)!));
    expect(floats(random.tensors.get(b)!).every((value) => value === 0)).toBe(true);
  }
  expect(left.config).toEqual(random.config);
});
