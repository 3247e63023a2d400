/**
 * A task may train other tensors than those that the engine sees: its own factors of a stacked adapter (over-base.ts),
 * the cores of folded factors (over-core.ts). A view leads from the one to the other and back.
 */
import type { TensorSet } from "../adapters/tensor.ts";
import type { Gradients, Learner, Portion, Row } from "./learner.ts";

export interface View {
  /** Names of the task's tensors that are trained; the engine's where it is absent. */
  readonly trainable?: ReadonlySet<string>;
  /** The engine's parameters. Valid until the next call. */
  inward(own: TensorSet): TensorSet;
  /** Gradients of the task's tensors, from those of the engine's. */
  outward(gradients: TensorSet, own: TensorSet): TensorSet;
}

/** Where a task trains what the engine sees. */
export const PLAIN: View = { inward: (own) => own, outward: (gradients) => gradients };

export function inwardPortion<R extends Row>(view: View, portion: Portion<R>): Portion<R> {
  return { ...portion, parameters: view.inward(portion.parameters) };
}

export function outwardGradients<R extends Row>(
  view: View,
  result: Gradients,
  { parameters }: Portion<R>,
): Gradients {
  return { ...result, gradients: view.outward(result.gradients, parameters) };
}

/** The learner as a task sees it. */
export function throughView<R extends Row>(learner: Learner<R>, view: View): Learner<R> {
  return {
    trainable: view.trainable ?? learner.trainable,
    ...(learner.tables && { tables: learner.tables }),
    async gradients(rows, parameters, seed) {
      const result = await learner.gradients(rows, view.inward(parameters), seed);
      return outwardGradients(view, result, { rows, parameters });
    },
    losses: (rows, parameters) => learner.losses(rows, view.inward(parameters)),
  };
}
