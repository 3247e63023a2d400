/** The gradient of a whole step: the sum over its micro-batches, divided by the labels of all of them. */
import type { TensorSet } from "../adapters/tensor.ts";
import { assertNotAborted, type Gradients, type Losses, type Portion, type Row } from "./learner.ts";
import type { Parameter } from "./optimizers/rule.ts";

export interface StepGradients extends Losses {
  /** Of the mean loss; tensors that no row reached are absent. Valid until the next step is accumulated. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Buffers for all steps of a task: nothing large is allocated at a step. */
export class Accumulator<R extends Row> {
  readonly #sums: ReadonlyMap<string, Float32Array>;

  constructor(parameters: readonly Parameter[]) {
    this.#sums = new Map(parameters.map(({ name, data }) => [name, new Float32Array(data.length)]));
  }

  /**
   * Asks for the gradients of one micro-batch after the other.
   *
   * @param seedOf seed of the dropout masks of a micro-batch
   */
  *step(
    batches: readonly (readonly R[])[],
    weights: TensorSet,
    seedOf: (part: number) => string,
    signal: AbortSignal | undefined,
  ): Generator<Portion<R>, StepGradients, Gradients> {
    for (const sum of this.#sums.values()) sum.fill(0);
    const gradients = new Map<string, Float32Array>();
    let lossSum = 0;
    let labels = 0;
    for (const [part, batch] of batches.entries()) {
      assertNotAborted(signal, "Training");
      const result = yield { rows: batch, parameters: weights, seed: seedOf(part) };
      lossSum += result.lossSum;
      labels += result.labels;
      for (const [name, sum] of this.#sums) {
        const gradient = result.gradients.get(name);
        if (gradient === undefined) continue;
        gradients.set(name, sum);
        addTo(sum, gradient.data as Float32Array); // the learner's contract: F32
      }
    }
    for (const gradient of gradients.values()) scale(gradient, 1 / labels);
    return { lossSum, labels, gradients };
  }
}

function addTo(sum: Float32Array, values: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += values[i]!;
}

function scale(values: Float32Array, factor: number): void {
  for (let i = 0; i < values.length; i++) values[i]! *= factor;
}
