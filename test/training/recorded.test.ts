/** Optimizers and schedules against six steps recorded from torch and transformers (test/golden/optimizers). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { trainingOptions } from "../../config/training.ts";
import type { Parameter } from "../../training/optimizers/rule.ts";
import { clipGradients, createOptimizer } from "../../training/optimizers.ts";
import { learningRateAt } from "../../training/schedule.ts";

type Values = Readonly<Record<string, readonly number[]>>;

const golden: {
  readonly shapes: Values;
  readonly maxGradNorm: number;
  readonly start: Values;
  readonly gradients: readonly Values[];
  readonly runs: readonly { readonly optim: string; readonly options: object; readonly final: Values }[];
  readonly schedules: readonly {
    readonly kind: string;
    readonly warmup: number;
    readonly rates: readonly number[];
  }[];
} = JSON.parse(readFileSync(join(import.meta.dirname, "../golden/optimizers/steps.json"), "utf8"));

/** torch rounds every intermediate to float32, we only what is stored: a few last bits of weights up to 3. */
const TOLERANCE = 1e-6;

test("there are runs to compare with", () => {
  expect(golden.runs.map(({ optim }) => optim)).toEqual(["adamw", "sgd", "adafactor"]);
  expect(golden.schedules.length).toBe(8);
});

test.each(golden.runs)("six clipped steps of $optim end where torch's do", ({ optim, options, final }) => {
  const parameters: Parameter[] = Object.entries(golden.start).map(([name, values]) => ({
    name,
    shape: golden.shapes[name]!,
    data: Float32Array.from(values),
  }));
  const optimizer = createOptimizer(trainingOptions.parse({ optim, ...options }), parameters);
  for (const step of golden.gradients) {
    const gradients = new Map(
      Object.entries(step).map(([name, values]) => [name, Float32Array.from(values)]),
    );
    clipGradients(gradients, golden.maxGradNorm);
    optimizer.step(gradients, 0.01);
  }
  for (const { name, data } of parameters) {
    data.forEach((value, i) => {
      expect(Math.abs(value - final[name]![i]!), `${name}[${i}]`).toBeLessThan(TOLERANCE);
    });
  }
});

test.each(golden.schedules)(
  "$kind with $warmup warm-up steps is transformers' schedule",
  ({ kind, warmup, rates }) => {
    const options = trainingOptions.parse({
      learning_rate: 1,
      lr_scheduler_type: kind,
      warmup_steps: warmup,
    });
    rates.forEach((rate, step) => {
      expect(learningRateAt(options, step, 10)).toBeCloseTo(rate, 14);
    });
  },
);
