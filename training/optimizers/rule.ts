/** What an optimizer's rule is: it moves one parameter by one gradient and keeps its state in slots. */

/** A trained tensor; the optimizer writes into `data`. */
export interface Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
  /** [rows, width] of an embedding: a row whose gradient is zero was touched by no example of the batch. */
  readonly table?: boolean;
}

/** State of one parameter by slot. */
export type Slots = Readonly<Record<string, Float32Array>>;

export interface UpdateRule {
  /** Whether elements move apart from each other, so that a part of a tensor can be moved alone. */
  readonly elementwise: boolean;
  /** State of one parameter by slot, with the shape of each; all zero at first. */
  slots(parameter: Parameter): Readonly<Record<string, readonly number[]>>;
  /** @param step 1 for the parameter's first update */
  update(
    parameter: Parameter,
    gradient: Float32Array,
    slots: Slots,
    step: number,
    learningRate: number,
  ): void;
}
