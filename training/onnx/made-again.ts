/**
 * Values made again on the way back instead of being kept, where that is cheap and what they are made of is kept anyway:
 * attention's probabilities, the only values of a layer that grow with the square of the length, and normalized rows.
 *
 *   P = softmax(q·kᵀ + mask)              h = norm(x)               forward
 *   P'= softmax((q + 0·dO)·kᵀ + mask)     h'= norm(x + 0·dz)        where the way back reads P or h
 *
 * The dependency on the gradient that the value is multiplied with there keeps the runtime from taking both for the same,
 * made once, early, and kept.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import type { Maths } from "./maths.ts";
import { type Operation, readersOf, type Value } from "./program.ts";
import { behind } from "./recompute.ts";
import { asLateAsRead } from "./schedule.ts";

/**
 * @param operations of a whole step, in order
 * @param forward those of them that lead to the loss
 * @param what "normalized" leaves the probabilities, whose products take a few hundredths of a step
 * @returns the same step, in order
 */
export function makeAgain(
  operations: readonly Operation[],
  forward: readonly Operation[],
  g: Maths,
  what: "all" | "normalized",
): readonly Operation[] {
  const isForward = new Set(forward);
  const found = forward.flatMap((operation) => chainTo(operation, isForward, what) ?? []);
  const readers = readersOf(operations);
  const instead = new Map<Value, Value>();
  const before = g.builder.operations.length;
  for (const chain of found) again(chain, readers, isForward, instead, g);
  const changed = operations.map((operation): Operation => {
    if (isForward.has(operation) || !operation.inputs.some((input) => input && instead.has(input)))
      return operation;
    return { ...operation, inputs: operation.inputs.map((input) => (input && instead.get(input)) ?? input) };
  });
  const anew = g.builder.operations.slice(before);
  return asLateAsRead([...changed, ...anew], changed);
}

interface Chain {
  readonly made: Value;
  /** From the first operation that is done again to the one that gives `made`. */
  readonly operations: readonly Operation[];
}

/** Operations to be done again for what this one gives; undefined where it is not of the kinds that are cheap. */
function chainTo(
  operation: Operation,
  isForward: ReadonlySet<Operation>,
  what: "all" | "normalized",
): Chain | undefined {
  if (NORMALIZATIONS.has(operation.op)) return { made: operation.outputs[0]!, operations: [operation] };
  return operation.op === "Softmax" && what === "all" ? chainToSoftmax(operation, isForward) : undefined;
}

const NORMALIZATIONS = new Set(["SimplifiedLayerNormalization", "RMSNormalization", "LayerNormalization"]);

/** The way back from a softmax to the product of two values that are smaller than it. */
function chainToSoftmax(softmax: Operation, isForward: ReadonlySet<Operation>): Chain | undefined {
  const made = softmax.outputs[0]!;
  const size = sizeOf(made.shape);
  const operations = [softmax];
  for (let value = softmax.inputs[0]!; ; ) {
    const { from } = value;
    if (from === undefined || !isForward.has(from)) return undefined;
    operations.unshift(from);
    if (from.op === "MatMul") {
      const isProduct = from.inputs.every((input) => !input!.weight && 2 * sizeOf(input!.shape) <= size);
      return isProduct ? { made, operations } : undefined;
    }
    // What is added (a mask) or multiplied with (a scale) is the same for all layers, or smaller.
    const next = ELEMENTWISE.has(from.op) ? from.inputs.find((input) => isScores(input, size)) : undefined;
    if (next === undefined) return undefined;
    value = next;
  }
}

const ELEMENTWISE = new Set(["Reshape", "Add", "Mul", "Div", "Tanh", "Where"]);

const isScores = (value: Value | undefined, size: number): value is Value =>
  value?.from !== undefined && sizeOf(value.shape) === size && value.type !== "BOOL";

/** Adds to `instead` what the way back reads in place of the value and of its other shapes. */
function again(
  { made, operations }: Chain,
  readers: ReadonlyMap<Value, readonly Operation[]>,
  isForward: ReadonlySet<Operation>,
  instead: Map<Value, Value>,
  g: Maths,
): void {
  const read = (value: Value): readonly Operation[] => readers.get(value) ?? [];
  const shapes = [made, ...read(made).flatMap(({ op, outputs }) => (op === "Reshape" ? outputs : []))];
  const gradient = shapes.flatMap(read).flatMap((reader) => arriving(reader, isForward, read))[0];
  if (gradient === undefined) return; // nothing on the way back multiplies with them
  const start = operations[0]!.inputs[0]!;
  const known = new Map([[start, behind(start, gradient, g)]]);
  for (const { op, domain, name, inputs, attributes, outputs } of operations) {
    const anew = inputs.map((input) => (input && known.get(input)) ?? input);
    known.set(outputs[0]!, g.builder.emit(op, anew, attributes, { domain, name })[0]!);
  }
  for (const shape of shapes) instead.set(shape, g.reshape(known.get(made)!, shape.shape));
}

/** The gradient that a reader on the way back multiplies the value with; each may be transposed. */
function arriving(
  reader: Operation,
  isForward: ReadonlySet<Operation>,
  read: (value: Value) => readonly Operation[],
): readonly Value[] {
  if (isForward.has(reader)) return [];
  if (reader.op === "Transpose")
    return read(reader.outputs[0]!).flatMap((next) => arriving(next, isForward, read));
  if (reader.op !== "MatMul" && reader.op !== "Gemm") return [];
  return reader.inputs.slice(0, 2).flatMap((input) => {
    const turned = input?.from?.op === "Transpose" ? input.from.inputs[0] : input;
    return turned?.from !== undefined && !isForward.has(turned.from) ? [turned] : [];
  });
}
