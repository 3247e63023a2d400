/**
 * Which examples each optimizer step sees: epochs in a new order each, cut into steps of
 * per_device_train_batch_size * gradient_accumulation_steps examples; an epoch's last step may be smaller.
 * Numbers of steps are those of transformers' Trainer, fractional epochs included.
 */
import type { Rng } from "../base/rng.ts";
import type { TrainingOptions } from "../config/training.ts";

export interface StepPlan {
  readonly steps: number;
  /** Share of an epoch that one step is. */
  readonly epochShare: number;
  /** Indices of the examples of a step, in the epoch's order. */
  examplesOf(step: number): number[];
}

export function planSteps(options: TrainingOptions, examples: number, rng: Rng): StepPlan {
  const { per_device_train_batch_size: batch, gradient_accumulation_steps: accumulated } = options;
  const perEpoch = Math.ceil(Math.ceil(examples / batch) / accumulated);
  const steps = options.max_steps > 0 ? options.max_steps : Math.ceil(options.num_train_epochs * perEpoch);
  const indices = Array.from({ length: examples }, (_, i) => i);
  let shuffled: { readonly epoch: number; readonly order: readonly number[] } | undefined;
  return {
    steps,
    epochShare: 1 / perEpoch,
    examplesOf(step) {
      const epoch = Math.floor(step / perEpoch);
      if (shuffled?.epoch !== epoch) shuffled = { epoch, order: rng.fork("order", epoch).shuffle(indices) };
      const from = (step % perEpoch) * batch * accumulated;
      return shuffled.order.slice(from, from + batch * accumulated);
    },
  };
}
