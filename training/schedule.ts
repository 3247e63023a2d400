/**
 * Learning rate of each optimizer step, as transformers' schedules of the same names give it: the factor of
 * step s (counted from 0) multiplies `learning_rate`; with W warm-up steps and T steps in all
 *
 *   s < W      s / W
 *   constant   1 (no warm-up at all)        constant_with_warmup   1
 *   linear     (T - s) / (T - W)            cosine   (1 + cos(π (s - W) / (T - W))) / 2
 *
 * So with warm-up the first step has learning rate 0, and no step reaches s = T.
 */
import type { TrainingOptions } from "../config/training.ts";

export function learningRateAt(options: TrainingOptions, step: number, steps: number): number {
  return options.learning_rate * factorAt(options, step, steps);
}

/** `warmup_steps` where it is not 0, else `warmup_ratio` of all steps, rounded up. */
export function warmupSteps(options: TrainingOptions, steps: number): number {
  return options.warmup_steps > 0 ? options.warmup_steps : Math.ceil(steps * options.warmup_ratio);
}

function factorAt(options: TrainingOptions, step: number, steps: number): number {
  const kind = options.lr_scheduler_type;
  if (kind === "constant") return 1;
  const warmup = warmupSteps(options, steps);
  if (step < warmup) return step / warmup;
  const progress = (step - warmup) / Math.max(1, steps - warmup);
  switch (kind) {
    case "constant_with_warmup":
      return 1;
    case "linear":
      return Math.max(0, 1 - progress);
    case "cosine":
      return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
    default:
      return kind satisfies never;
  }
}
