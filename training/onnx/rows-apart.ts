/**
 * Operations that treat the rows of a batch apart (element by element, products with one matrix, norms over the last
 * axes), and how they are made again for other rows: some of them, or the same ones in another order.
 */
import { int, intOf } from "./graph.ts";
import type { Maths } from "./maths.ts";
import { sliceOf } from "./operators/layout.ts";
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

export class RowsApart {
  /** How many rows there are. */
  readonly count: number;
  readonly #readers: ReadonlyMap<Value, readonly Operation[]>;
  readonly #blocks: number;

  /**
   * @param blocks equal ones that rows stand in, here and where they are made again: each may be multiplied with a matrix
   *   of its own, as with a client's factors
   */
  constructor(count: number, readers: ReadonlyMap<Value, readonly Operation[]>, blocks = 1) {
    this.count = count;
    this.#readers = readers;
    this.#blocks = blocks;
  }

  /** How many leading axes of a shape are the rows, or undefined where it has none. */
  leading(shape: readonly number[]): number | undefined {
    let product = 1;
    for (let axis = 0; axis < shape.length; axis++) {
      product *= shape[axis]!;
      if (product === this.count && (shape[axis + 1] !== 1 || axis + 2 >= shape.length)) return axis + 1;
      if (product > this.count) return undefined;
    }
    return undefined;
  }

  /** The operands that hold rows of an operation which keeps rows apart; undefined for one that does not. */
  rowOperands(operation: Operation): readonly Value[] | undefined {
    const { op, inputs, outputs } = operation;
    const leading = this.leading(outputs[0]!.shape);
    if (leading === undefined) return undefined;
    if (outputs.slice(1).some((output) => this.#readers.has(output))) return undefined;
    const x = inputs[0]!;
    if (ELEMENTWISE.has(op)) {
      const given = inputs.filter((input) => input !== undefined);
      const free = given.filter((input) => this.#isFree(input, outputs[0]!, leading));
      const rows = given.filter((input) => !free.includes(input) && this.leading(input.shape) === leading);
      return free.length + rows.length === given.length ? rows : undefined;
    }
    const own = this.leading(x.shape);
    if (own === undefined) return undefined;
    const rank = x.shape.length;
    switch (op) {
      case "MatMul":
        return own === rank - 1 && (inputs[1]!.shape.length === 2 || this.#isByBlock(operation))
          ? [x]
          : undefined;
      case "Gemm": {
        const c = inputs[2];
        if (own !== 1 || intOf(operation, "transA", 0) !== 0) return undefined;
        if (!c || this.#isFree(c, outputs[0]!, leading)) return [x];
        return this.leading(c.shape) === 1 ? [x, c] : undefined;
      }
      case "MatMulNBits":
        return own === rank - 1 ? [x] : undefined;
      case "Reshape":
        return [x];
      case "Slice":
        return slicedAxes(operation).every(({ axis, step }) => axis >= own && step > 0) ? [x] : undefined;
      case "ReduceMean":
      case "ReduceSum":
      case "ReduceMax":
        return intOf(operation, "keepdims", 1) === 1 && reducedAxes(operation).every((axis) => axis >= own)
          ? [x]
          : undefined;
      default:
        return NORMALIZATIONS.has(op) && axisOf(intOf(operation, "axis", -1), rank) >= own ? [x] : undefined;
    }
  }

  /** [blocks, rows, K] times [blocks, K, N]. */
  #isByBlock({ op, inputs: [x, matrices] }: Operation): boolean {
    const { shape } = matrices!;
    const fits = op === "MatMul" && shape.length === 3 && x!.shape.length === 3;
    return fits && this.#blocks > 1 && shape[0] === this.#blocks && x!.shape[0] === this.#blocks;
  }

  /** Whether an operand has the same value for every row. */
  #isFree(input: Value, output: Value, leading: number): boolean {
    const missing = output.shape.length - input.shape.length;
    return input.shape.slice(0, Math.max(0, leading - missing)).every((dim) => dim === 1);
  }

  /**
   * The operation for other rows.
   *
   * @param picked [n, ...] of an operand that holds rows
   * @returns [n, ...], its first result for those rows
   */
  again(operation: Operation, picked: (operand: Value) => Value, n: number, g: Maths): Value {
    const { op, domain, inputs, outputs, attributes, outputCount } = operation;
    const value = outputs[0]!;
    const leading = this.leading(value.shape)!;
    if (op === "Reshape") return g.reshape(picked(inputs[0]!), [n, ...value.shape.slice(leading)]);
    if (ELEMENTWISE.has(op)) {
      const operands = inputs.map((input) => {
        if (input === undefined) return undefined;
        if (this.leading(input.shape) === leading && !this.#isFree(input, value, leading))
          return picked(input);
        // Drop the leading ones, so that what is left broadcasts against [n, ...].
        const missing = value.shape.length - input.shape.length;
        return g.reshape(input, input.shape.slice(Math.max(0, leading - missing)));
      });
      return g.op(op, operands, attributes, domain);
    }
    const first = picked(inputs[0]!);
    if (this.#isByBlock(operation)) {
      const [, , width] = inputs[0]!.shape as [number, number, number];
      const blocks = g.reshape(first, [this.#blocks, n / this.#blocks, width]);
      return g.reshape(g.matMul(blocks, inputs[1]!), [n, value.shape[2]!]);
    }
    if (op === "Slice") {
      const parts = slicedAxes(operation);
      return parts.reduce(
        (part, { axis, start, step, length }) =>
          g.slice(part, axis - leading + 1, start, start + length * step, step),
        first,
      );
    }
    if (op === "MatMul" || op === "Gemm" || op === "MatMulNBits") {
      const c = inputs[2];
      const rest =
        op === "Gemm" && c
          ? [inputs[1], this.leading(c.shape) === 1 && c.shape.length === 2 ? picked(c) : c]
          : inputs.slice(1);
      return g.op(op, [first, ...rest], attributes, domain);
    }
    if (op.startsWith("Reduce")) {
      const axes = reducedAxes(operation).map((axis) => axis - leading + 1);
      return g.op(op, [first, g.builder.integers(axes)], attributes, domain);
    }
    const axis = axisOf(intOf(operation, "axis", -1), value.shape.length) - leading + 1;
    return g.builder.emit(
      op,
      [first, ...inputs.slice(1)],
      { ...attributes, axis: int(axis) },
      { domain, outputCount },
    )[0]!;
  }
}

/** Axes that a Slice takes less than all of. */
function slicedAxes(operation: Operation) {
  const { shape } = operation.inputs[0]!;
  return sliceOf(operation).flatMap((part, axis) =>
    part.step === 1 && part.length === shape[axis] ? [] : [{ axis, ...part }],
  );
}

/** @param value [..., V] whose leading axes are `count` rows @returns [n, V...], those rows */
export function rowsAt(apart: RowsApart, value: Value, rows: Value, g: Maths): Value {
  const rest = value.shape.slice(apart.leading(value.shape)!);
  return g.gather(g.reshape(value, [apart.count, ...rest]), rows, 0);
}
