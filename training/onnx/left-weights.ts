/**
 * A vocabulary's weight, where the runtime does not repack it, as the left operand of the product that reads it transposed:
 *
 *   x·Wᵀ  ->  (W·xᵀ)ᵀ        x [m, k]   W [n, k]
 *
 * The runtime copies a right operand into panels before it multiplies, in every step. For the gradient in front of a
 * projection onto a vocabulary, [32, 49280]·[576, 49280]ᵀ, that takes longer than the product. A left operand is read as it
 * lies, and x is what is copied. The result is small where W's rows are long, and turning it little beside W; for the
 * weights of layers nothing was gained. How many rows x has does not decide, so that a row's sums are the same in any batch.
 */
import { made, operationOf, reshape } from "./finished.ts";
import { int, intOf, ints } from "./graph.ts";
import type { Operation, Program, Value } from "./program.ts";

/** How many times longer the rows of such a weight are than many: a layer's are 4 times at most. */
const LEAST_RATIO = 16;

export function withLeftWeights(program: Program): Program {
  const operations = program.operations.flatMap((operation) =>
    readsTransposed(operation) ? fromLeft(operation) : [operation],
  );
  return { ...program, operations };
}

/** x·W or x·Wᵀ with nothing added. */
export function isPlainGemm(operation: Operation): boolean {
  const known = Object.keys(operation.attributes).every((name) => name === "transA" || name === "transB");
  const plain = known && intOf(operation, "transA", 0) === 0;
  return operation.op === "Gemm" && plain && operation.inputs[2] === undefined;
}

/** Such a product x·Wᵀ with a weight of long rows. */
function readsTransposed(operation: Operation): boolean {
  const [, weight] = operation.inputs;
  if (!isPlainGemm(operation) || intOf(operation, "transB", 0) !== 1) return false;
  if (!weight?.weight || weight.type !== "F32") return false;
  const [rows, columns] = weight.shape as [number, number];
  return columns >= LEAST_RATIO * rows;
}

function fromLeft(operation: Operation): readonly Operation[] {
  const [x, weight] = operation.inputs as [Value, Value];
  const result = operation.outputs[0]!;
  const [rows, width] = result.shape as [number, number];
  const product = made(`${result.name}/left`, result, [width, rows]);
  // As stacks of one, or the runtime turns the product itself, by taking the weight as its right operand again.
  const stack = made(`${result.name}/stack`, result, [1, width, rows]);
  const back = made(`${result.name}/back`, result, [1, rows, width]);
  return [
    { ...operation, inputs: [weight, x], outputs: [product], attributes: { transB: int(1) } },
    reshape(product, stack),
    operationOf("Transpose", [stack], back, { perm: ints([0, 2, 1]) }),
    reshape(back, result),
  ];
}
