/** What a task's steps add up to: the counts and means of its result, and the progress it reports. */
import type { Losses, Row } from "./learner.ts";
import type { StepPlan } from "./steps.ts";
import type { Progress, TrainResult } from "./trainer.ts";

export class Tally<R extends Row> {
  readonly #plan: StepPlan;
  readonly #seen = new Set<R>();
  #lossSum = 0;
  #labels = 0;
  #tokens = 0;
  #learningRates = 0;
  #lossFirst = Number.NaN;
  #lossLast = Number.NaN;
  #steps = 0;

  constructor(plan: StepPlan) {
    this.#plan = plan;
  }

  add(rows: readonly R[], { lossSum, labels }: Losses, learningRate: number): void {
    for (const row of rows) {
      this.#seen.add(row);
      this.#tokens += row.length;
    }
    this.#lossSum += lossSum;
    this.#labels += labels;
    this.#learningRates += learningRate;
    this.#lossLast = lossSum / labels;
    if (this.#steps === 0) this.#lossFirst = this.#lossLast;
    this.#steps++;
  }

  progress(learningRate: number, elapsedMs: number): Progress {
    return {
      step: this.#steps,
      steps: this.#plan.steps,
      epoch: this.#steps * this.#plan.epochShare,
      loss: this.#lossLast,
      learningRate,
      tokensPerSecond: this.#tokens / Math.max(1e-3, elapsedMs / 1000),
    };
  }

  result(): Pick<TrainResult, "examples" | "steps" | "tokens" | "touched" | "metrics"> {
    const count = (group: keyof Row["touched"]): number =>
      [...this.#seen].filter((row) => row.touched[group]).length;
    return {
      examples: this.#seen.size,
      steps: this.#steps,
      tokens: this.#labels,
      touched: { text: count("text"), image: count("image"), audio: count("audio") },
      metrics: {
        loss: this.#lossSum / this.#labels,
        lossFirst: this.#lossFirst,
        lossLast: this.#lossLast,
        learningRateMean: this.#learningRates / this.#steps,
      },
    };
  }
}
