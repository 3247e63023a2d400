/**
 * The diagonal of the Fisher information, as strategies that weigh by importance use it: the mean of squared
 * gradients, by parameter.
 */
import { float32, type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { assertNotAborted, type Learner, type Row } from "./learner.ts";
import type { Parameter } from "./optimizers/rule.ts";

/**
 * The mean over examples of the squared gradient of one example's mean loss (the empirical Fisher: true labels,
 * not sampled ones). Costs a backward pass an example; tensors that no example reaches are zero.
 */
export async function exampleFisher<R extends Row>(
  learner: Learner<R>,
  rows: readonly R[],
  weights: TensorSet,
  parameters: readonly Parameter[],
  signal: AbortSignal | undefined,
): Promise<TensorSet> {
  const squares = squaresOf(parameters);
  for (const row of rows) {
    assertNotAborted(signal, "Training");
    const { gradients, labels } = await learner.gradients([row], weights);
    for (const [name, gradient] of gradients) {
      squares.add(name, gradient.data as Float32Array, 1 / labels); // F32: the learner's contract
    }
  }
  return squares.mean(rows.length);
}

/** The cheap variant: the mean over steps of the squared training gradient, while the weights move. */
export function runningFisher(parameters: readonly Parameter[]): {
  add(gradients: ReadonlyMap<string, Float32Array>): void;
  mean(): TensorSet;
} {
  const squares = squaresOf(parameters);
  let steps = 0;
  return {
    add(gradients) {
      steps++;
      for (const [name, gradient] of gradients) squares.add(name, gradient, 1);
    },
    mean: () => squares.mean(Math.max(1, steps)),
  };
}

function squaresOf(parameters: readonly Parameter[]) {
  const sums = new Map(parameters.map(({ name, data }) => [name, new Float64Array(data.length)]));
  return {
    add(name: string, gradient: Float32Array, factor: number): void {
      const sum = sums.get(name);
      if (sum === undefined) return; // frozen
      for (let i = 0; i < sum.length; i++) sum[i]! += (gradient[i]! * factor) ** 2;
    },
    mean: (count: number): TensorSet =>
      tensorSet(
        parameters.map(({ name, shape }) => [
          name,
          float32(
            shape,
            Float32Array.from(sums.get(name)!, (sum) => sum / count),
          ),
        ]),
      ),
  };
}
