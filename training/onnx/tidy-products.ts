/** Products in the form that the runtime would bring them to (tidy.ts): what is around one becomes part of it. */
import { sizeOf } from "../../adapters/tensor.ts";
import { float, floatOf, int, intOf } from "./graph.ts";
import { permOf } from "./operators/layout.ts";
import {
  type Operation,
  type Program,
  readersOf,
  reading,
  sameShape,
  usesOf,
  type Value,
} from "./program.ts";
import { uniformValue } from "./simplify.ts";

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
  const uses = usesOf(program);
  const readers = readersOf(program.operations);
  const outputs = new Set(program.outputs.values());
  const makers = new Map(program.operations.map((operation) => [operation.outputs[0]!, operation]));
  const factors = new Map<Operation, number>();
  const same = new Map<Value, Value>();
  const scale = (product: Operation, factor: number): void =>
    void factors.set(product, (factors.get(product) ?? 1) * factor);
  for (const operation of program.operations) {
    const multiple = multipleOf(operation);
    const result = operation.outputs[0]!;
    if (multiple === undefined || outputs.has(result)) continue;
    const { x, factor } = multiple;
    const product = productBehind(x, makers, uses);
    if (product === undefined && isGate(x, makers)) continue;
    const products = product ? [product] : productsThatRead(result, readers, outputs);
    for (const one of products) scale(one, factor);
    if (products.length > 0) same.set(result, same.get(x) ?? x);
  }
  const operations = program.operations.flatMap((operation) => {
    if (same.has(operation.outputs[0]!)) return [];
    const factor = factors.get(operation);
    return [factor === undefined ? operation : times(operation, factor)];
  });
  return { ...program, operations: reading(operations, (value) => same.get(value) ?? value) };
}

/** A value and the number that it is multiplied by. */
function multipleOf({ op, domain, inputs, outputs }: Operation): { x: Value; factor: number } | undefined {
  if (op !== "Mul" || domain !== "" || outputs[0]!.type !== "F32") return undefined;
  const number = inputs.findLast((input) => input!.weight && sizeOf(input!.shape) === 1);
  const x = inputs.find((input) => input !== number);
  if (!number || !x || x.weight || !sameShape(x.shape, outputs[0]!.shape)) return undefined;
  return { x, factor: uniformValue(number)! };
}

/** x (1 + erf) or x (1 + tanh), the half of which is a GELU: that the runtime takes as one. */
function isGate(x: Value, makers: ReadonlyMap<Value, Operation>): boolean {
  const inputsOf = (value: Value, op: string): readonly (Value | undefined)[] => {
    const maker = makers.get(value);
    return maker?.op === op ? maker.inputs : [];
  };
  const sums = inputsOf(x, "Mul").flatMap((factor) => inputsOf(factor!, "Add"));
  return sums.some((term) => ["Erf", "Tanh"].includes(makers.get(term!)?.op ?? ""));
}

/** What made it, perhaps in another shape, if nothing is added there and nothing else reads it. */
function productBehind(
  x: Value,
  makers: ReadonlyMap<Value, Operation>,
  uses: ReadonlyMap<Value, number>,
): Operation | undefined {
  const maker = makers.get(x);
  const flat = maker?.op === "Reshape" ? maker.inputs[0]! : x;
  const product = makers.get(flat);
  const isAlone = uses.get(x) === 1 && uses.get(flat) === 1;
  return isAlone && product && isProduct(product) && product.inputs[2] === undefined ? product : undefined;
}

/**
 * The products that multiply a value, perhaps in another shape, one that does so twice twice; none where anything else
 * reads it.
 */
function productsThatRead(
  value: Value,
  readers: ReadonlyMap<Value, readonly Operation[]>,
  outputs: ReadonlySet<Value>,
): readonly Operation[] {
  if (outputs.has(value)) return [];
  const found = (readers.get(value) ?? []).map((reader) => {
    if (reader.op === "Reshape") return productsThatRead(reader.outputs[0]!, readers, outputs);
    return isProduct(reader) && reader.inputs[2] !== value ? [reader] : [];
  });
  return found.some((products) => products.length === 0) ? [] : found.flat();
}

function times(product: Operation, factor: number): Operation {
  const alpha = float(factor * floatOf(product, "alpha", 1));
  const scaled = { ...product, attributes: { ...product.attributes, alpha } };
  return product.op === "Gemm" ? scaled : fused(scaled);
}

const fused = (product: Operation): Operation => ({ ...product, op: "FusedMatMul", domain: "com.microsoft" });

const isMatMul = ({ op, domain }: Operation): boolean =>
  (op === "MatMul" && domain === "") || op === "FusedMatMul";

/** What alpha can be said of. */
function isProduct(operation: Operation): boolean {
  if (operation.outputs[0]!.type !== "F32") return false;
  return isOfMatrices(operation) || (operation.op === "Gemm" && operation.domain === "");
}

/** A product of stacks of matrices, or of two. */
function isOfMatrices(operation: Operation): boolean {
  if (!isMatMul(operation)) return false;
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
