/**
 * What an operator is to the builder: the types of its results, and its value where all inputs are known.
 * Attributes and inputs are those of opset 18 (upgrade.ts brings older nodes there).
 */
import type { Call, Numbers, Typed, Value } from "../program.ts";

export interface OperatorKind {
  readonly op: string;
  /** "" where absent. */
  readonly domain?: string;
  /** Element type and shape of each result. @throws TypeError where the inputs do not fit */
  infer(call: Call): readonly Typed[];
  /** The results where every input is a constant. */
  evaluate?(call: Call, inputs: readonly (Numbers | undefined)[]): readonly Numbers[];
}

/** @throws TypeError naming the operator where the input is not given */
export function need(call: Call, index: number): Value {
  const value = call.inputs[index];
  if (value === undefined) throw new TypeError(`${call.op} "${call.name}" wants input ${index}`);
  return value;
}

/** Thrown where a shape depends on a value that is not a constant; the specializer then asks for that value. */
export class ValueNeeded extends Error {
  readonly value: Value;

  constructor(value: Value) {
    super(`The value of "${value.name}" decides a shape`);
    this.value = value;
  }
}

export const oneLike = (type: Typed["type"], shape: readonly number[]): readonly Typed[] => [{ type, shape }];
