/**
 * What a kind of model is to the trainer: how examples become its rows, what learns on them, and what it says of
 * examples. Generators and classifiers are two such kinds.
 */
import type { Adapter } from "../adapters/adapter.ts";
import type { TensorSet } from "../adapters/tensor.ts";
import type { Example } from "../data/example.ts";
import type { TargetModule } from "./fresh-adapter.ts";
import type { Learner, Row } from "./learner.ts";
import type { Prediction, PredictTask } from "./trainer.ts";

export interface Form<R extends Row> {
  /** Linear layers that LoRA can stand beside, by their paths in the whole model. */
  readonly modules: readonly TargetModule[];
  /** Values of modules that an adapter saves whole, under the names that PEFT gives them. */
  initialValues(modulesToSave: readonly string[]): Promise<TensorSet>;
  /** @throws FedloomError F2131, F2132, F2139 where the example cannot be trained on */
  trainingRow(example: Example, maxLength: number): Promise<R>;
  /** For adapters of this one's ranks, scales and modules; undefined: the base alone. */
  open(adapter: Adapter | undefined, options?: FormOptions): Promise<OpenForm<R>>;
  close(): Promise<void>;
}

export interface FormOptions {
  /** Activations are computed again instead of kept. */
  readonly recompute?: boolean;
}

export interface OpenForm<R extends Row> {
  readonly learner: Learner<R>;
  /** The same for examples that are met again and again: what frozen layers give for them is kept (front-states.ts). */
  readonly repeating: Learner<R>;
  /** One prediction an example, in their order. */
  predict(
    parameters: TensorSet,
    task: Omit<PredictTask, "adapter">,
    examples: readonly Example[],
    signal: AbortSignal | undefined,
  ): Promise<Prediction[]>;
  close(): Promise<void>;
}
