/** What an optimizer's rule is: it moves one parameter by one gradient and keeps its state in slots. */

/** A trained tensor; the optimizer writes into `data`. */
export interface Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface UpdateRule {
  /** State of one parameter by slot, with the shape of each; all zero at first. */
  slots(parameter: Parameter): Readonly<Record<string, readonly number[]>>;
  /** @param step 1 for the parameter's first update */
  update(
    parameter: Parameter,
    gradient: Float32Array,
    slots: Readonly<Record<string, Float32Array>>,
    step: number,
    learningRate: number,
  ): void;
}
