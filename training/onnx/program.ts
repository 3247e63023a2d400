/**
 * A program: a graph made for given input shapes. Every value has a type and a constant shape.
 *
 * Invariants, kept by Builder, the only one who makes operations:
 *  1. Operations stand in topological order.
 *  2. A value is a graph input (`input`), a constant (`weight`) or a result (`from`), exactly one of them.
 *  3. No two operations of a program compute the same thing, and none computes what is known already.
 */
import type { Attributes } from "./graph.ts";
import type { ElementType, Weight } from "./weight.ts";

export interface Typed {
  readonly type: ElementType;
  readonly shape: readonly number[];
}

export interface Value extends Typed {
  readonly id: number;
  /** Name in the emitted graph; results of the source graph keep theirs. */
  readonly name: string;
  readonly weight?: Weight;
  readonly input?: true;
  readonly from?: Operation;
}

/** What an operator is asked with: shape inference, rules and lowerings see the same thing. */
export interface Call {
  readonly op: string;
  readonly domain: string;
  /** Name of the node of the source graph that it comes from. */
  readonly name: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: Attributes;
  readonly outputCount: number;
}

export interface Operation extends Call {
  readonly outputs: readonly Value[];
}

export interface Program {
  readonly operations: readonly Operation[];
  readonly inputs: readonly Value[];
  readonly outputs: ReadonlyMap<string, Value>;
}

/** How often each value is read, as an operand or as an output of the program. */
export function usesOf({ operations, outputs }: Program): ReadonlyMap<Value, number> {
  const uses = new Map<Value, number>();
  const count = (value: Value | undefined): void =>
    void (value && uses.set(value, (uses.get(value) ?? 0) + 1));
  for (const { inputs } of operations) inputs.forEach(count);
  for (const output of outputs.values()) count(output);
  return uses;
}

/** Whether nothing enters but constants. */
export function isOfConstants({ inputs }: Pick<Call, "inputs">): boolean {
  return inputs.every((input) => input === undefined || input.weight !== undefined);
}

/** Other values in place of those that operations read. */
export function reading(operations: readonly Operation[], inPlaceOf: (value: Value) => Value): Operation[] {
  return operations.map((operation) => ({
    ...operation,
    inputs: operation.inputs.map((input) => input && inPlaceOf(input)),
  }));
}

/** The operations that read each value. */
export function readersOf(operations: readonly Operation[]): ReadonlyMap<Value, readonly Operation[]> {
  const readers = new Map<Value, Operation[]>();
  for (const operation of operations)
    for (const input of operation.inputs) {
      if (input === undefined) continue;
      const known = readers.get(input);
      if (known === undefined) readers.set(input, [operation]);
      else known.push(operation);
    }
  return readers;
}

/** What makes operations; Builder is the one. */
export interface Emitter {
  one(op: string, inputs: readonly (Value | undefined)[], attributes?: Attributes, domain?: string): Value;
  integers(values: readonly number[]): Value;
}

/** A constant's numbers, for computing with while a program is built. Integers are exact up to 2^53. */
export interface Numbers extends Typed {
  readonly data: Float64Array;
}

/** The axis counted from 0. @throws TypeError where the rank has no such axis */
export function axisOf(axis: number, rank: number): number {
  const from0 = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(from0) || from0 < 0 || from0 >= Math.max(rank, 1))
    throw new TypeError(`Axis ${axis} does not exist in ${rank} dimensions`);
  return from0;
}

/** The shape that numpy's rules broadcast to. @throws TypeError where they do not fit */
export function broadcastShape(...shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    let dim = 1;
    for (const shape of shapes) {
      const own = shape[i - rank + shape.length] ?? 1;
      if (own === 1 || own === dim) continue;
      if (dim !== 1)
        throw new TypeError(
          `Shapes ${shapes.map((s) => `[${s.join(", ")}]`).join(" and ")} do not broadcast`,
        );
      dim = own;
    }
    return dim;
  });
}

/** Elements one step along each axis is apart from the next, row-major. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}
