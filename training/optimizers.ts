/**
 * Optimizers: a rule that moves one parameter by one gradient, and what they share: state by parameter, step
 * counts, saving. A parameter whose gradient is absent was touched by no example of the batch: it is not
 * decayed, its moments do not move, its step is not counted. (An all-zero gradient is a gradient.) So it is with the
 * rows of an embedding, whose gradient is zero where no example met the token.
 *
 * Arithmetic is float64 within an element and float32 in memory.
 */
import { float32, sizeOf, type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";
import type { TrainingOptions } from "../config/training.ts";
import { adafactor } from "./optimizers/adafactor.ts";
import { adamW } from "./optimizers/adamw.ts";
import type { Parameter, UpdateRule } from "./optimizers/rule.ts";
import { sgd } from "./optimizers/sgd.ts";
import { stateOf } from "./optimizers/state.ts";

/** One line for each optimizer. */
const RULES: Readonly<Record<TrainingOptions["optim"], (options: TrainingOptions) => UpdateRule>> = {
  adamw: adamW,
  sgd,
  adafactor,
};

export interface Optimizer {
  /** Moves every parameter that has a gradient in the map. */
  step(gradients: ReadonlyMap<string, Float32Array>, learningRate: number): void;
  /** A copy of the state, `<parameter>#<slot>` and `<parameter>#step`, to go on from in a later round. */
  save(): TensorSet;
}

export function createOptimizer(
  options: TrainingOptions,
  parameters: readonly Parameter[],
  saved?: TensorSet,
): Optimizer {
  const rule = RULES[options.optim](options);
  const states = parameters.map((parameter) => {
    const shapes = rule.slots(parameter);
    const kept = Object.entries(shapes).flatMap(([slot, shape]) => {
      const values = restored(parameter, slot, shape, saved);
      return values === undefined ? [] : [[slot, values] as const];
    });
    const state = stateOf(rule, parameter, Object.fromEntries(kept));
    const step = Float32Array.from(restored(parameter, "step", [], saved) ?? [0]);
    return { parameter, shapes, state, step };
  });
  return {
    step(gradients, learningRate) {
      for (const { parameter, state, step } of states) {
        const gradient = gradients.get(parameter.name);
        if (gradient === undefined) continue;
        step[0]! += 1;
        state.update(gradient, step[0]!, learningRate);
      }
    },
    save: () =>
      tensorSet(
        states.flatMap(({ parameter, shapes, state, step }) => [
          [`${parameter.name}#step`, float32([], step.slice())] as const,
          ...Object.entries(state.slots()).map(
            ([slot, data]) => [`${parameter.name}#${slot}`, float32(shapes[slot]!, data)] as const,
          ),
        ]),
      ),
  };
}

/** As it was saved; undefined where nothing was. */
function restored(
  parameter: Parameter,
  slot: string,
  shape: readonly number[],
  saved: TensorSet | undefined,
): Float32Array | undefined {
  const kept = saved?.get(`${parameter.name}#${slot}`);
  if (kept === undefined) return undefined;
  if (kept.dtype !== "F32" || kept.data.length !== sizeOf(shape)) {
    throw new FedloomError(
      "F2130",
      `Cannot go on from the saved optimizer state: "${parameter.name}#${slot}" must be F32 [${shape.join(", ")}], got ${kept.dtype} [${kept.shape.join(", ")}]`,
    );
  }
  return kept.data as Float32Array; // the dtype was just checked
}

/**
 * Scales all gradients in place so that their global L2 norm is at most `limit`; 0 leaves them as they are.
 *
 * As torch.nn.utils.clip_grad_norm_: the factor is limit / (norm + 1e-6), never above 1.
 *
 * @returns the norm before scaling; not finite when a gradient is not
 */
export function clipGradients(gradients: ReadonlyMap<string, Float32Array>, limit: number): number {
  let squares = 0;
  for (const gradient of gradients.values()) {
    for (let i = 0; i < gradient.length; i++) squares += gradient[i]! * gradient[i]!;
  }
  const norm = Math.sqrt(squares);
  const factor = limit === 0 ? 1 : limit / (norm + 1e-6);
  if (factor < 1) {
    for (const gradient of gradients.values()) {
      for (let i = 0; i < gradient.length; i++) gradient[i]! *= factor;
    }
  }
  return norm;
}
