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
    const slots = Object.fromEntries(
      Object.entries(shapes).map(([slot, shape]) => [slot, restore(parameter, slot, shape, saved)]),
    );
    return { parameter, shapes, slots, step: restore(parameter, "step", [], saved) };
  });
  return {
    step(gradients, learningRate) {
      for (const { parameter, slots, step } of states) {
        const gradient = gradients.get(parameter.name);
        if (gradient === undefined) continue;
        step[0]! += 1;
        if (parameter.table) updateRows(rule, parameter, gradient, slots, step[0]!, learningRate);
        else rule.update(parameter, gradient, slots, step[0]!, learningRate);
      }
    },
    save: () =>
      tensorSet(
        states.flatMap(({ parameter, shapes, slots, step }) => [
          [`${parameter.name}#step`, float32([], step.slice())] as const,
          ...Object.entries(slots).map(
            ([slot, data]) => [`${parameter.name}#${slot}`, float32(shapes[slot]!, data.slice())] as const,
          ),
        ]),
      ),
  };
}

/** Moves the rows that have a gradient, those that lie together at a time; all others keep their bits, and their state. */
function updateRows(
  rule: UpdateRule,
  parameter: Parameter,
  gradient: Float32Array,
  slots: Readonly<Record<string, Float32Array>>,
  step: number,
  learningRate: number,
): void {
  const { data, shape } = parameter;
  const [rows, width] = shape as [number, number];
  const isTouched = (row: number): boolean => {
    for (let i = row * width; i < (row + 1) * width; i++) if (gradient[i] !== 0) return true;
    return false;
  };
  const before = rule.elementwise ? undefined : data.slice();
  if (before !== undefined) rule.update(parameter, gradient, slots, step, learningRate);
  for (let row = 0; row < rows; row++) {
    const from = row;
    while (row < rows && isTouched(row)) row++;
    const part = (all: Float32Array): Float32Array => all.subarray(from * width, row * width);
    if (before === undefined && row > from) {
      const own = Object.fromEntries(Object.entries(slots).map(([slot, all]) => [slot, part(all)]));
      const run = { ...parameter, shape: [row - from, width], data: part(data) };
      rule.update(run, part(gradient), own, step, learningRate);
    }
    if (before !== undefined && row < rows)
      data.set(before.subarray(row * width, (row + 1) * width), row * width);
  }
}

function restore(
  parameter: Parameter,
  slot: string,
  shape: readonly number[],
  saved: TensorSet | undefined,
): Float32Array {
  const kept = saved?.get(`${parameter.name}#${slot}`);
  if (kept === undefined) return new Float32Array(sizeOf(shape));
  if (kept.dtype !== "F32" || kept.data.length !== sizeOf(shape)) {
    throw new FedloomError(
      "F2130",
      `Cannot go on from the saved optimizer state: "${parameter.name}#${slot}" must be F32 [${shape.join(", ")}], got ${kept.dtype} [${kept.shape.join(", ")}]`,
    );
  }
  return Float32Array.from(kept.data as Float32Array); // the dtype was just checked
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
