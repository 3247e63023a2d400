/**
 * Builds a program operation by operation: infers shapes at once, computes what is known, shares what is
 * there already, and leaves out what changes nothing. Gradients are built by the same means as the forward
 * part, so a rule may write `mul(x, one)` or transpose twice without a cost.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import type { Attribute, Attributes } from "./graph.ts";
import { MAX_FOLDED, numbersOf, weightFrom } from "./numbers.ts";
import { OPERATORS } from "./operators/index.ts";
import { ValueNeeded } from "./operators/operator.ts";
import { shapeSlice } from "./operators/sources.ts";
import {
  type Call,
  isOfConstants,
  type Numbers,
  type Operation,
  type Program,
  type Typed,
  type Value,
} from "./program.ts";
import type { Kernels } from "./runtime.ts";
import { simplify } from "./simplify.ts";
import type { ElementType, Weight } from "./weight.ts";

const KINDS = new Map(OPERATORS.map((kind) => [`${kind.domain ?? ""}::${kind.op}`, kind]));

/** A constant is kept under its bytes where it is small, so that equal ones are one. */
const SHARED_BYTES = 1024;

/** Expanding a constant beyond this many elements is left to the runtime: the file would grow, nothing else would be gained. */
const MAX_GROWN = 2 ** 14;

export interface EmitOptions {
  readonly domain?: string;
  readonly name?: string;
  /** Names of the results; as many results as names. */
  readonly outputs?: readonly string[];
  readonly outputCount?: number;
}

export class Builder {
  readonly kernels: Kernels;
  readonly #operations: Operation[] = [];
  readonly #inputs: Value[] = [];
  readonly #known = new Map<string, readonly Value[]>();
  readonly #constants = new Map<string, Value>();
  readonly #names = new Set<string>();
  /** Name of the source node that operations are made for, for messages. */
  #origin = "";
  readonly #found = new Map<unknown, Map<Value, unknown>>();
  #nextId = 0;

  constructor(kernels: Kernels = "all") {
    this.kernels = kernels;
  }

  get operations(): readonly Operation[] {
    return this.#operations;
  }

  input(name: string, type: ElementType, shape: readonly number[]): Value {
    const value = { ...this.#value(name, { type, shape }), input: true as const };
    this.#inputs.push(value);
    return value;
  }

  /** A constant under a name of its own; used for initializers. */
  weight(name: string, weight: Weight): Value {
    const key = `weight ${name}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const value = { ...this.#value(name, weight), weight };
    this.#constants.set(key, value);
    return value;
  }

  constant(weight: Weight): Value {
    const bytes = sizeOf(weight.shape) * 8 <= SHARED_BYTES ? weight.bytes() : undefined;
    const key = bytes && `${weight.type} [${weight.shape}] ${Array.from(bytes).join(" ")}`;
    const known = key === undefined ? undefined : this.#constants.get(key);
    if (known !== undefined) return known;
    const value = { ...this.#value("constant", weight), weight };
    if (key !== undefined) this.#constants.set(key, value);
    return value;
  }

  scalar(value: number, type: ElementType = "F32"): Value {
    return this.constant(weightFrom({ type, shape: [], data: Float64Array.of(value) }));
  }

  /** Axes, shapes and other lists of integers. */
  integers(values: readonly number[]): Value {
    return this.constant(
      weightFrom({ type: "I64", shape: [values.length], data: Float64Array.from(values) }),
    );
  }

  /** Operations that `build` makes are said to come from the node `origin`. */
  at<T>(origin: string, build: () => T): T {
    const before = this.#origin;
    this.#origin = origin;
    try {
      return build();
    } finally {
      this.#origin = before;
    }
  }

  /** What `find` says about a value, asked once however many layers read the value. */
  once<T>(value: Value, find: (value: Value) => T): T {
    const known = this.#found.get(find) ?? new Map<Value, unknown>();
    this.#found.set(find, known);
    if (!known.has(value)) known.set(value, find(value));
    return known.get(value) as T; // kept under the function that found it
  }

  one(op: string, inputs: readonly (Value | undefined)[], attributes: Attributes = {}, domain = ""): Value {
    return this.emit(op, inputs, attributes, { domain })[0]!;
  }

  /** @throws FedloomError F2111 where the operator is unknown or its inputs do not fit */
  emit(
    op: string,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes = {},
    options: EmitOptions = {},
  ): readonly Value[] {
    const domain = options.domain ?? "";
    const outputCount = options.outputs?.length ?? options.outputCount ?? 1;
    const name = options.name ?? this.#origin;
    const call: Call = { op, domain, name, inputs: trimmed(inputs), attributes, outputCount };
    const key = keyOf(call);
    const known = key === undefined ? undefined : this.#known.get(key);
    if (known !== undefined) return known;
    const results = this.#make(call, options.outputs);
    if (key !== undefined) this.#known.set(key, results);
    return results;
  }

  program(outputs: ReadonlyMap<string, Value>): Program {
    return { operations: withoutDead(this.#operations, outputs.values()), inputs: this.#inputs, outputs };
  }

  #make(call: Call, names: readonly string[] | undefined): readonly Value[] {
    const kind = KINDS.get(`${call.domain}::${call.op}`);
    const what = `${call.domain && `${call.domain}.`}${call.op}`;
    if (kind === undefined)
      throw new FedloomError("F2111", `Cannot use operator ${what} of node "${call.name}": it is not known`, {
        operator: what,
        node: call.name,
      });
    if (call.op === "Shape") {
      const dims = shapeSlice(call);
      return [this.integers(dims)];
    }
    if (call.op === "Size")
      return [
        this.constant(
          weightFrom({ type: "I64", shape: [], data: Float64Array.of(sizeOf(call.inputs[0]!.shape)) }),
        ),
      ];
    let types: readonly Typed[];
    try {
      types = kind.infer(call);
    } catch (cause) {
      if (cause instanceof ValueNeeded) throw cause;
      throw new FedloomError(
        "F2111",
        `Cannot place ${what} of node "${call.name}": ${messageOf(cause)}`,
        { operator: what, node: call.name },
        { cause },
      );
    }
    const folded = kind.evaluate && this.#fold(call, types, kind.evaluate);
    if (folded !== undefined) return folded;
    const simpler = simplify(call, types[0]!, this);
    if (simpler !== undefined) return [simpler];
    const outputs: Value[] = [];
    const operation: Operation = { ...call, outputs };
    types.forEach((typed, i) => {
      outputs.push({ ...this.#value(names?.[i] || `${call.name || call.op}`, typed), from: operation });
    });
    this.#operations.push(operation);
    return outputs;
  }

  #fold(
    call: Call,
    types: readonly Typed[],
    evaluate: (call: Call, inputs: readonly (Numbers | undefined)[]) => readonly Numbers[],
  ): readonly Value[] | undefined {
    const size = sizeOf(types[0]!.shape);
    if (!isOfConstants(call)) return undefined;
    const largest = Math.max(1, ...call.inputs.map((input) => (input ? sizeOf(input.shape) : 0)));
    if (size > MAX_FOLDED || largest > MAX_FOLDED) return undefined;
    // A weight that lies in a file is not turned into another: transposed or cast it would be a copy on the heap.
    if (call.inputs.some((input) => input?.weight?.source !== undefined && sizeOf(input.shape) > MAX_GROWN))
      return undefined;
    if ((call.op === "Expand" || call.op === "Tile" || call.op === "ConstantOfShape") && size > MAX_GROWN)
      return undefined;
    const numbers: (Numbers | undefined)[] = [];
    for (const input of call.inputs) {
      const own = input?.weight && numbersOf(input.weight);
      if (input !== undefined && own === undefined) return undefined;
      numbers.push(own);
    }
    return evaluate(call, numbers).map((result) => this.constant(weightFrom(result)));
  }

  #value(name: string, { type, shape }: Typed): { id: number; name: string } & Typed {
    const id = this.#nextId++;
    const own = this.#names.has(name) ? `${name}:${id}` : name;
    this.#names.add(own);
    return { id, name: own, type, shape };
  }
}

function trimmed(inputs: readonly (Value | undefined)[]): readonly (Value | undefined)[] {
  const last = inputs.findLastIndex((input) => input !== undefined);
  return inputs.slice(0, last + 1);
}

/** Equal keys mean equal results. Operators that draw numbers are unknown to us, so none is left out. */
function keyOf(call: Call): string | undefined {
  const attributes = Object.entries(call.attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  if (attributes.some(([, { kind }]) => kind === "tensor" || kind === "graph")) return undefined;
  const text = attributes.map(([name, { value }]: [string, Attribute]) => `${name}=${value}`).join(";");
  const inputs = call.inputs.map((input) => input?.id ?? "").join(",");
  return `${call.domain}::${call.op}(${inputs}) ${text} ${call.outputCount}`;
}

/** The operations that `outputs` depend on, in the same order. */
export function withoutDead(
  operations: readonly Operation[],
  outputs: Iterable<Value>,
): readonly Operation[] {
  const needed = new Set<Operation>();
  for (const output of outputs) if (output.from) needed.add(output.from);
  for (let i = operations.length - 1; i >= 0; i--) {
    const operation = operations[i]!;
    if (!needed.has(operation)) continue;
    for (const input of operation.inputs) if (input?.from) needed.add(input.from);
  }
  return operations.filter((operation) => needed.has(operation));
}
