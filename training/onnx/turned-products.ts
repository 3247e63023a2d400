/** (A·B)ᵀ = Bᵀ·Aᵀ: a product that is only read transposed is computed that way, and nothing is moved. */
import { int, intOf } from "./graph.ts";
import { permOf } from "./operators/layout.ts";
import { type Operation, type Program, usesOf } from "./program.ts";

export function turnProducts(program: Program): Program {
  const uses = usesOf(program);

  const gone = new Set<Operation>();
  const operations = program.operations.map((operation) => {
    const product = operation.inputs[0]?.from;
    if (operation.op !== "Transpose" || product?.op !== "Gemm" || product.inputs[2] !== undefined)
      return operation;
    if (permOf(operation)[0] !== 1 || uses.get(product.outputs[0]!) !== 1) return operation;
    gone.add(product);
    const [a, b] = product.inputs;
    const transA = int(1 - intOf(product, "transB", 0));
    const transB = int(1 - intOf(product, "transA", 0));
    const attributes = { ...product.attributes, transA, transB };
    return { ...product, inputs: [b, a], outputs: operation.outputs, attributes };
  });
  return { ...program, operations: operations.filter((operation) => !gone.has(operation)) };
}
