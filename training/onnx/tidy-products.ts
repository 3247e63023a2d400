/** Products in the form that the runtime would bring them to (tidy.ts): what is around one becomes part of it. */
import { float, floatOf, int, intOf } from "./graph.ts";
import { permOf } from "./operators/layout.ts";
import { type Operation, type Program, readersOf, reading, usesOf, type Value } from "./program.ts";
import { multipleOf } from "./simplify.ts";

/** Which operand of a product is read with its last two axes turned. */
const SIDES = [
  { side: 0, attribute: "transA" },
  { side: 1, attribute: "transB" },
] as const;

/** MatMul(Transpose(a), b) is one product that reads a turned, and so of b. */
export function withFusedTransposes(program: Program): Program {
  const turned = new Map<Value, Value>();
  const operations = program.operations.map((operation) => {
    const { op, inputs } = operation;
    if (op === "Transpose" && turnsMatrices(operation)) turned.set(operation.outputs[0]!, inputs[0]!);
    if (!isOfMatrices(operation) || !SIDES.some(({ side }) => turned.has(inputs[side]!))) return operation;
    const attributes = { ...operation.attributes };
    const read = [...inputs];
    for (const { side, attribute } of SIDES) {
      const source = turned.get(inputs[side]!);
      if (source === undefined) continue;
      read[side] = source;
      attributes[attribute] = int(1 - intOf(operation, attribute, 0));
    }
    return fused({ ...operation, inputs: read, attributes });
  });
  return { ...program, operations };
}

/** A column times a row, turned, is the row turned times the column turned: angles of positions in older exports. */
export function withTurnedProducts(program: Program): Program {
  const uses = usesOf(program);
  const products = new Map<Value, Operation>();
  const operations = program.operations.map((operation) => {
    if (operation.op === "MatMul" && operation.inputs[0]!.shape.at(-1) === 1 && isOfMatrices(operation))
      products.set(operation.outputs[0]!, operation);
    const product = operation.op === "Transpose" ? products.get(operation.inputs[0]!) : undefined;
    if (product === undefined || uses.get(product.outputs[0]!) !== 1 || !turnsMatrices(operation))
      return operation;
    const attributes = { transA: int(1), transB: int(1) };
    const { outputs } = operation;
    return fused({ ...product, inputs: product.inputs.toReversed(), attributes, outputs });
  });
  return { ...program, operations }; // the products themselves are read no more
}

/**
 * c (a·b), (c a)·b and a·(c b) are one product with alpha c. A LoRA branch has a scale each way, unless alpha is
 * the rank.
 */
export function withFusedScales(program: Program): Program {
  const around = new Surroundings(program);
  const factors = new Map<Operation, number>();
  const same = new Map<Value, Value>();
  for (const operation of program.operations) {
    const result = operation.outputs[0]!;
    const multiple = result.type === "F32" ? multipleOf(operation) : undefined;
    if (multiple === undefined) continue;
    const { x, factor } = multiple;
    const products = around.productsScaledBy(x, result);
    for (const product of products) factors.set(product, (factors.get(product) ?? 1) * factor);
    if (products.length > 0) same.set(result, same.get(x) ?? x);
  }
  const operations = program.operations.flatMap((operation) => {
    if (same.has(operation.outputs[0]!)) return [];
    const factor = factors.get(operation);
    return [factor === undefined ? operation : times(operation, factor)];
  });
  return { ...program, operations: reading(operations, (value) => same.get(value) ?? value) };
}

/** What makes and what reads the values of a program. */
class Surroundings {
  readonly #makers: ReadonlyMap<Value, Operation>;
  readonly #readers: ReadonlyMap<Value, readonly Operation[]>;
  readonly #outputs: ReadonlySet<Value>;

  constructor({ operations, outputs }: Program) {
    this.#makers = new Map(operations.map((operation) => [operation.outputs[0]!, operation]));
    this.#readers = readersOf(operations);
    this.#outputs = new Set(outputs.values());
  }

  /** Those that may take the factor of x on themselves: the one that makes x, or all that read the multiple. */
  productsScaledBy(x: Value, multiple: Value): readonly Operation[] {
    if (this.#outputs.has(multiple)) return [];
    const product = this.#productBehind(x);
    if (product !== undefined) return [product];
    return this.#isGate(x) ? [] : this.#productsThatRead(multiple);
  }

  /** What made it, perhaps in another shape, if nothing is added there and nothing else reads it. */
  #productBehind(x: Value): Operation | undefined {
    const maker = this.#makers.get(x);
    const flat = maker?.op === "Reshape" ? maker.inputs[0]! : x;
    const product = this.#makers.get(flat);
    const isAlone = this.#isReadOnce(x) && this.#isReadOnce(flat);
    return isAlone && product && isProduct(product) && product.inputs[2] === undefined ? product : undefined;
  }

  #isReadOnce(value: Value): boolean {
    return this.#readers.get(value)?.length === 1 && !this.#outputs.has(value);
  }

  /**
   * The products that multiply a value, perhaps in another shape, one that does so twice twice; none where anything
   * else reads it.
   */
  #productsThatRead(value: Value): readonly Operation[] {
    if (this.#outputs.has(value)) return [];
    const found = (this.#readers.get(value) ?? []).map((reader) => {
      if (reader.op === "Reshape") return this.#productsThatRead(reader.outputs[0]!);
      return isProduct(reader) && reader.inputs[2] !== value ? [reader] : [];
    });
    return found.some((products) => products.length === 0) ? [] : found.flat();
  }

  /** x (1 + erf) or x (1 + tanh), the half of which is a GELU: that the runtime takes as one. */
  #isGate(x: Value): boolean {
    const sums = this.#inputsOf(x, "Mul").flatMap((factor) => this.#inputsOf(factor!, "Add"));
    return sums.some((term) => ["Erf", "Tanh"].includes(this.#makers.get(term!)?.op ?? ""));
  }

  #inputsOf(value: Value, op: string): readonly (Value | undefined)[] {
    const maker = this.#makers.get(value);
    return maker?.op === op ? maker.inputs : [];
  }
}

function times(product: Operation, factor: number): Operation {
  const alpha = float(factor * floatOf(product, "alpha", 1));
  const scaled = { ...product, attributes: { ...product.attributes, alpha } };
  return product.op === "Gemm" ? scaled : fused(scaled);
}

const fused = (product: Operation): Operation => ({ ...product, op: "FusedMatMul", domain: "com.microsoft" });

/** What alpha can be said of. */
function isProduct(operation: Operation): boolean {
  if (operation.outputs[0]!.type !== "F32") return false;
  return isOfMatrices(operation) || (operation.op === "Gemm" && operation.domain === "");
}

/** A product of stacks of matrices, or of two. */
function isOfMatrices(operation: Operation): boolean {
  const { op, domain } = operation;
  if (op !== "FusedMatMul" && (op !== "MatMul" || domain !== "")) return false;
  const isStacked = operation.inputs.every((input) => input!.shape.length >= 2);
  return isStacked && ["transBatchA", "transBatchB"].every((name) => intOf(operation, name, 0) === 0);
}

/** Of values, not of weights: what is computed from those alone the runtime computes while it opens the graph. */
function turnsMatrices(operation: Operation): boolean {
  const [x] = operation.inputs as [Value];
  const rank = x.shape.length;
  const axes = permOf(operation);
  if (x.type !== "F32" || x.weight || rank < 2) return false;
  return axes.every((axis, i) => axis === (i < rank - 2 ? i : 2 * rank - 3 - i));
}
