/** Inputs whose values decide shapes. */
import { numbersOf } from "../numbers.ts";
import type { Call } from "../program.ts";
import { need, ValueNeeded } from "./operator.ts";

/** The numbers of an input. @throws ValueNeeded where it is not a constant */
export function integers(call: Call, index: number): readonly number[] {
  const value = need(call, index);
  const numbers = value.weight && numbersOf(value.weight);
  if (numbers === undefined) throw new ValueNeeded(value);
  return Array.from(numbers.data);
}

export function optionalIntegers(call: Call, index: number): readonly number[] | undefined {
  return call.inputs[index] === undefined ? undefined : integers(call, index);
}

/** As `integers`, for an input that may be left out or given without elements. */
export function integersOrNone(call: Call, index: number): readonly number[] | undefined {
  const input = call.inputs[index];
  return input === undefined || input.shape[0] === 0 ? undefined : integers(call, index);
}
