/**
 * The program in the form that the runtime would bring it to while it opens the graph.
 *
 * As soon as one of its passes changed anything it resolves the whole graph again, and when all have passed, all pass once
 * more. A step of thirty layers has five thousand operations; written in the final form, of which there are fewer, it opens in
 * 0.67 of the time (without weights to repack):
 *
 *   Reshape(Reshape(x))                        Reshape(x)
 *   Slices side by side, all of x              Split(x)
 *   MatMul(Transpose(a), b), of the last axes  FusedMatMul(a, b), transA; b likewise (tidy-products.ts)
 *   Transpose(MatMul(column, row))             FusedMatMul(row, column), both transposed
 *   Mul(MatMul(a, b), number)                  FusedMatMul(a, b), alpha; before a product likewise
 *   Expand(a constant)                         what it comes to
 *   equal small constants                      one of them
 *
 * For runtimes with kernels of their own (onnxruntime's CPU provider).
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { constant, integers, reshape } from "./finished.ts";
import { int } from "./graph.ts";
import { sliceOf } from "./operators/layout.ts";
import { type Operation, type Program, reading, sameShape, usesOf, type Value } from "./program.ts";
import { withFusedScales, withFusedTransposes, withTurnedProducts } from "./tidy-products.ts";
import { byteSize } from "./weight.ts";

/** Of the same inputs and outputs, with the same values. */
export function tidied(program: Program): Program {
  const passes = [
    withTurnedProducts,
    withFusedTransposes,
    withoutUnread, // Transposes that are part of products now would count among the readers of a multiple
    withFusedScales,
    withoutChains,
    withSplits,
    withGrownConstants,
    withSharedConstants,
    withoutUnread,
  ];
  return passes.reduce((last, pass) => pass(last), program);
}

/** A Reshape of a Reshape reads what that one reads, and one into the shape that is there already is left out. */
function withoutChains(program: Program): Program {
  const outputs = new Set(program.outputs.values());
  const sources = new Map<Value, Value>();
  const same = new Map<Value, Value>();
  const operations = program.operations.flatMap((operation) => {
    const result = operation.outputs[0]!;
    // A 0 in a shape stands for what is in front of it.
    if (operation.op !== "Reshape" || result.shape.includes(0)) return [operation];
    const read = operation.inputs[0]!;
    const source = sources.get(read) ?? read;
    sources.set(result, source);
    if (!sameShape(source.shape, result.shape) || outputs.has(result))
      return [source === read ? operation : { ...reshape(source, result), name: operation.name }];
    same.set(result, source);
    return [];
  });
  return { ...program, operations: reading(operations, (value) => same.get(value) ?? value) };
}

/** Operations of which nothing is read, and that are no outputs, from the end on. */
function withoutUnread(program: Program): Program {
  const uses = new Map(usesOf(program));
  const kept = program.operations.toReversed().filter(({ inputs, outputs }) => {
    if (outputs.some((output) => (uses.get(output) ?? 0) > 0)) return true;
    for (const input of inputs) if (input) uses.set(input, uses.get(input)! - 1);
    return false;
  });
  return { ...program, operations: kept.toReversed() };
}

interface Piece {
  readonly operation: Operation;
  readonly axis: number;
  readonly start: number;
  readonly length: number;
}

/** What it takes of a value, along one axis and as it lies. Of a weight the runtime takes it once, while it opens the graph. */
function pieceOf(operation: Operation): Piece | undefined {
  if (operation.op !== "Slice" || operation.inputs[0]!.weight) return undefined;
  const { shape } = operation.inputs[0]!;
  const axes = sliceOf(operation).map((slice, axis) => ({ ...slice, axis }));
  const cut = axes.filter(({ length, axis }) => length < shape[axis]!);
  const [only] = cut;
  return cut.length === 1 && only!.step === 1 ? { operation, ...only! } : undefined;
}

function withSplits(program: Program): Program {
  const pieces = new Map<Value, Piece[]>();
  for (const operation of program.operations) {
    const piece = pieceOf(operation);
    const source = operation.inputs[0]!;
    if (piece) pieces.set(source, [...(pieces.get(source) ?? []), piece]);
  }
  const splits = new Map<Operation, Operation>();
  const gone = new Set<Operation>();
  for (const [source, found] of pieces) {
    const split = splitOf(source, found);
    if (split === undefined) continue;
    splits.set(found[0]!.operation, split);
    for (const { operation } of found) gone.add(operation);
  }
  const operations = program.operations.flatMap((operation) => {
    if (!gone.has(operation)) return [operation];
    const split = splits.get(operation);
    return split ? [split] : [];
  });
  return { ...program, operations };
}

/** @param pieces of one value, all that are read of it by slices */
function splitOf(source: Value, pieces: readonly Piece[]): Operation | undefined {
  const [{ axis, operation }] = pieces as [Piece];
  if (pieces.length < 2 || pieces.some((piece) => piece.axis !== axis)) return undefined;
  const ordered = pieces.toSorted((a, b) => a.start - b.start);
  const ends = ordered.map(({ start, length }) => start + length);
  const isTiled = ordered.every(({ start }, i) => start === (ends[i - 1] ?? 0));
  if (!isTiled || ends.at(-1) !== source.shape[axis]) return undefined;
  const lengths = ordered.map(({ length }) => length);
  return {
    ...operation,
    op: "Split",
    inputs: [source, integers(`${operation.outputs[0]!.name}/lengths`, lengths)],
    attributes: { axis: int(axis) },
    outputCount: ordered.length,
    outputs: ordered.map((piece) => piece.operation.outputs[0]!),
  };
}

/** Up to here a constant is written out: zeros that gradients of rows are put into have the size of a layer's input. */
const GROWN_BYTES = 16 * 2 ** 20;

function withGrownConstants(program: Program): Program {
  const grown = new Map<Value, Value>();
  const operations = program.operations.filter((operation) => {
    const [number] = operation.inputs;
    const result = operation.outputs[0]!;
    if (operation.op !== "Expand" || !number?.weight || sizeOf(number.shape) !== 1) return true;
    const size = byteSize(result.type, result.shape);
    if (size > GROWN_BYTES) return true;
    const element = number.weight.bytes();
    const bytes = (): Uint8Array => repeated(element, size);
    grown.set(result, constant(result.name, { type: result.type, shape: result.shape, bytes }));
    return false;
  });
  if (grown.size === 0) return program;
  const grownOf = (value: Value): Value => grown.get(value) ?? value;
  return {
    ...program,
    operations: reading(operations, grownOf),
    outputs: new Map([...program.outputs].map(([name, value]) => [name, grownOf(value)])),
  };
}

function repeated(element: Uint8Array, size: number): Uint8Array {
  const all = new Uint8Array(size);
  if (element.every((byte) => byte === 0)) return all;
  for (let at = 0; at < size; at += element.length) all.set(element, at);
  return all;
}

/** What is longer is no shape, axis or number. */
const SMALL_BYTES = 64;

function withSharedConstants(program: Program): Program {
  const byContent = new Map<string, Value>();
  const shared = new Map<Value, Value>();
  const sharedOf = (value: Value): Value => {
    if (value.weight === undefined || byteSize(value.type, value.shape) > SMALL_BYTES) return value;
    const known = shared.get(value);
    if (known !== undefined) return known;
    const key = `${value.type} ${value.shape} ${value.weight.bytes().join()}`;
    const first = byContent.get(key) ?? value;
    byContent.set(key, first);
    shared.set(value, first);
    return first;
  };
  return { ...program, operations: reading(program.operations, sharedOf) };
}
