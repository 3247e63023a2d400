/**
 * Computes an output for some of its rows only.
 *
 * Most positions of a batch have no label, and the projection onto the vocabulary costs more than a layer.
 * So the rows that matter are picked before it: the pick moves up through every operation that treats rows
 * apart and that nobody else reads, to behind the last attention.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { int, intOf } from "./graph.ts";
import type { Maths } from "./maths.ts";
import { reducedAxes } from "./operators/reductions.ts";
import { axisOf, type Operation, type Value } from "./program.ts";

/** Element by element, with broadcasting: rows stay apart. */
const ELEMENTWISE = new Set(
  (
    "Add Sub Mul Div Pow Neg Abs Exp Log Sqrt Reciprocal Tanh Sigmoid Erf Relu Cast Clip Where Gelu Sin Cos " +
    "LeakyRelu Elu Softplus HardSigmoid HardSwish Min Max QuickGelu Equal Less Greater LessOrEqual GreaterOrEqual Not IsNaN"
  ).split(" "),
);
const NORMALIZATIONS = new Set(
  "Softmax LogSoftmax LayerNormalization RMSNormalization SimplifiedLayerNormalization".split(" "),
);

/**
 * @param value [..., V]; its axes but the last are the rows, flattened
 * @param rows I64 [n], indices of rows
 * @returns [n, V]
 */
export function pickRows(value: Value, rows: Value, operations: readonly Operation[], g: Maths): Value {
  const count = sizeOf(value.shape.slice(0, -1));
  const picker = new Picker(count, rows, g);
  picker.findCone(value, operations);
  return picker.picked(value);
}

class Picker {
  readonly #count: number;
  readonly #rows: Value;
  readonly #g: Maths;
  readonly #cone = new Set<Operation>();
  readonly #picked = new Map<Value, Value>();
  readonly #readers = new Map<Value, Operation[]>();

  constructor(count: number, rows: Value, g: Maths) {
    this.#count = count;
    this.#rows = rows;
    this.#g = g;
  }

  /** The operations that are computed for the picked rows alone: `target` and what only they read. */
  findCone(target: Value, operations: readonly Operation[]): void {
    const readers = this.#readers;
    for (const operation of operations)
      for (const input of operation.inputs)
        if (input) readers.set(input, [...(readers.get(input) ?? []), operation]);
    for (const operation of operations.toReversed()) {
      const isTarget = operation.outputs.includes(target);
      const onlyInside = operation.outputs.every((output) =>
        (readers.get(output) ?? []).every((reader) => this.#cone.has(reader)),
      );
      const isRead = operation.outputs.some((output) => readers.has(output));
      if ((isTarget || (isRead && onlyInside)) && this.#keepsRowsApart(operation)) this.#cone.add(operation);
    }
  }

  picked(value: Value): Value {
    const known = this.#picked.get(value);
    if (known !== undefined) return known;
    const from = value.from;
    const result = from !== undefined && this.#cone.has(from) ? this.#again(from, value) : this.#leaf(value);
    this.#picked.set(value, result);
    return result;
  }

  /** How many leading axes of a shape are the rows, or undefined where it has none. */
  #leading(shape: readonly number[]): number | undefined {
    let product = 1;
    for (let axis = 0; axis < shape.length; axis++) {
      product *= shape[axis]!;
      if (product === this.#count && (shape[axis + 1] !== 1 || axis + 2 >= shape.length)) return axis + 1;
      if (product > this.#count) return undefined;
    }
    return undefined;
  }

  #leaf(value: Value): Value {
    const rest = value.shape.slice(this.#leading(value.shape)!);
    return this.#g.gather(this.#g.reshape(value, [this.#count, ...rest]), this.#rows, 0);
  }

  #keepsRowsApart(operation: Operation): boolean {
    const { op, inputs, outputs } = operation;
    const leading = this.#leading(outputs[0]!.shape);
    if (leading === undefined) return false;
    if (outputs.slice(1).some((output) => this.#readers.has(output))) return false;
    const x = inputs[0]!;
    const own = this.#leading(x.shape);
    if (ELEMENTWISE.has(op))
      return inputs.every(
        (input) =>
          !input || this.#leading(input.shape) === leading || this.#isFree(input, outputs[0]!, leading),
      );
    if (own === undefined) return false;
    const rank = x.shape.length;
    switch (op) {
      case "MatMul":
        return own === rank - 1 && inputs[1]!.shape.length === 2;
      case "Gemm": {
        const c = inputs[2];
        return (
          own === 1 &&
          intOf(operation, "transA", 0) === 0 &&
          (!c || this.#isFree(c, outputs[0]!, leading) || this.#leading(c.shape) === 1)
        );
      }
      case "MatMulNBits":
        return own === rank - 1;
      case "Reshape":
        return true;
      case "ReduceMean":
      case "ReduceSum":
      case "ReduceMax":
        return intOf(operation, "keepdims", 1) === 1 && reducedAxes(operation).every((axis) => axis >= own);
      default:
        return NORMALIZATIONS.has(op) && axisOf(intOf(operation, "axis", -1), rank) >= own;
    }
  }

  /** Whether an operand has the same value for every row. */
  #isFree(input: Value, output: Value, leading: number): boolean {
    const missing = output.shape.length - input.shape.length;
    return input.shape.slice(0, Math.max(0, leading - missing)).every((dim) => dim === 1);
  }

  /** An operation of the cone, for the picked rows. */
  #again(operation: Operation, value: Value): Value {
    const { op, domain, inputs, attributes } = operation;
    const g = this.#g;
    const leading = this.#leading(value.shape)!;
    const n = this.#rows.shape[0]!;
    if (op === "Reshape") return g.reshape(this.picked(inputs[0]!), [n, ...value.shape.slice(leading)]);
    const first = ELEMENTWISE.has(op) ? undefined : this.picked(inputs[0]!);
    if (op === "MatMul" || op === "Gemm" || op === "MatMulNBits") {
      const c = inputs[2];
      const rest =
        op === "Gemm" && c
          ? [inputs[1], this.#leading(c.shape) === 1 && c.shape.length === 2 ? this.picked(c) : c]
          : inputs.slice(1);
      return g.op(op, [first, ...rest], attributes, domain);
    }
    if (op.startsWith("Reduce")) {
      const axes = reducedAxes(operation).map((axis) => axis - leading + 1);
      return g.op(op, [first, g.builder.integers(axes)], attributes, domain);
    }
    if (NORMALIZATIONS.has(op)) {
      const axis = axisOf(intOf(operation, "axis", -1), value.shape.length) - leading + 1;
      const options = { domain, outputCount: operation.outputCount };
      return g.builder.emit(op, [first, ...inputs.slice(1)], { ...attributes, axis: int(axis) }, options)[0]!;
    }
    const operands = inputs.map((input) => {
      if (input === undefined) return undefined;
      if (this.#leading(input.shape) === leading && !this.#isFree(input, value, leading))
        return this.picked(input);
      // Drop the leading ones, so that what is left broadcasts against [n, ...].
      const missing = value.shape.length - input.shape.length;
      return g.reshape(input, input.shape.slice(Math.max(0, leading - missing)));
    });
    return g.op(op, operands, attributes, domain);
  }
}
