import { expect, test } from "vitest";
import { createRng } from "../../base/rng.ts";
import { trainingOptions } from "../../config/training.ts";
import { microBatches } from "../../training/learner.ts";
import { planSteps } from "../../training/steps.ts";

const plan = (options: object, examples: number) =>
  planSteps(trainingOptions.parse(options), examples, createRng("seed"));

test("an epoch sees every example once, in steps of batch size times accumulation", () => {
  const { steps, examplesOf } = plan(
    { per_device_train_batch_size: 2, gradient_accumulation_steps: 2, num_train_epochs: 2 },
    10,
  );
  // 10 examples = 5 micro-batches = 3 steps an epoch
  expect(steps).toBe(6);
  expect([0, 1, 2].map((step) => examplesOf(step).length)).toEqual([4, 4, 2]);
  for (const epoch of [0, 1]) {
    const seen = [0, 1, 2].flatMap((step) => examplesOf(3 * epoch + step));
    expect(seen.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  }
});

test("epochs differ in order, equal seeds do not", () => {
  const orders = () => {
    const { examplesOf } = plan({ per_device_train_batch_size: 50, num_train_epochs: 2 }, 50);
    return [examplesOf(0), examplesOf(1)];
  };
  const [first, second] = orders();
  expect(first).not.toEqual(second);
  expect(orders()).toEqual([first, second]);
});

test("half an epoch takes half of the steps, rounded up", () => {
  expect(plan({ per_device_train_batch_size: 2, num_train_epochs: 0.5 }, 10).steps).toBe(3);
});

test("max_steps wins over epochs, and goes on into further ones", () => {
  const { steps, examplesOf } = plan({ per_device_train_batch_size: 4, max_steps: 5 }, 4);
  expect(steps).toBe(5);
  expect(examplesOf(4)).toHaveLength(4);
});

test("micro-batches put rows of like length together and lose none", () => {
  const rows = [7, 1, 5, 3, 9].map((length) => ({ length }));
  expect(microBatches(rows, 2).map((batch) => batch.map(({ length }) => length))).toEqual([
    [1, 3],
    [5, 7],
    [9],
  ]);
});
