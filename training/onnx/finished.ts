/** Operations for a program that is complete, where no builder is at hand: what passes over it put in place of others. */
import type { Operation, Typed, Value } from "./program.ts";
import { type Weight, weightOf } from "./weight.ts";

/** The result of an operation that is about to be made. */
export function made(name: string, { type }: Pick<Typed, "type">, shape: readonly number[]): Value {
  return { id: -1, name, type, shape };
}

export function operationOf(
  op: string,
  inputs: readonly Value[],
  output: Value,
  attributes: Operation["attributes"] = {},
): Operation {
  return { op, domain: "", name: "", inputs, attributes, outputCount: 1, outputs: [output] };
}

export function constant(name: string, weight: Weight): Value {
  return { id: -1, name, type: weight.type, shape: weight.shape, weight };
}

/** Axes, shapes and other lists of integers. */
export function integers(name: string, values: readonly number[]): Value {
  return constant(name, weightOf("I64", [values.length], BigInt64Array.from(values, BigInt)));
}

/** `from` in the shape of `to`. */
export function reshape(from: Value, to: Value): Operation {
  return operationOf("Reshape", [from, integers(`${to.name}/shape`, to.shape)], to);
}
