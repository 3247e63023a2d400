import { expect, test } from "vitest";
import { type TrainingOptions, trainingOptions } from "../../config/training.ts";
import { learningRateAt } from "../../training/schedule.ts";

function rates(options: Partial<TrainingOptions>, steps: number): number[] {
  const all = trainingOptions.parse({ learning_rate: 1, ...options });
  return Array.from({ length: steps }, (_, step) => learningRateAt(all, step, steps));
}

test("constant ignores warm-up", () => {
  expect(rates({ lr_scheduler_type: "constant", warmup_steps: 2 }, 3)).toEqual([1, 1, 1]);
});

test("constant_with_warmup rises from 0 over the warm-up steps", () => {
  expect(rates({ lr_scheduler_type: "constant_with_warmup", warmup_steps: 2 }, 4)).toEqual([0, 1 / 2, 1, 1]);
});

test("linear falls to 0 at the step after the last", () => {
  // (T - s) / (T - W) with T = 5, W = 1
  expect(rates({ lr_scheduler_type: "linear", warmup_steps: 1 }, 5)).toEqual([0, 1, 3 / 4, 2 / 4, 1 / 4]);
});

test("cosine follows half a wave", () => {
  // (1 + cos(π s / 4)) / 2
  const wanted = [1, (1 + Math.SQRT1_2) / 2, 1 / 2, (1 - Math.SQRT1_2) / 2];
  rates({ lr_scheduler_type: "cosine" }, 4).forEach((rate, s) => {
    expect(rate).toBeCloseTo(wanted[s]!, 15);
  });
});

test("warmup_ratio is rounded up to whole steps, and warmup_steps wins over it", () => {
  // ceil(0.3 * 4) = 2
  expect(rates({ lr_scheduler_type: "constant_with_warmup", warmup_ratio: 0.3 }, 4)).toEqual([
    0,
    1 / 2,
    1,
    1,
  ]);
  expect(rates({ lr_scheduler_type: "constant_with_warmup", warmup_ratio: 0.3, warmup_steps: 1 }, 3)).toEqual(
    [0, 1, 1],
  );
});
