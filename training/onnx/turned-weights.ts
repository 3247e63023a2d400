/**
 * With weights that the runtime repacks ("fast"), a weight that takes a large share of all of them, the projection onto a
 * vocabulary, is turned once while the session opens, and not repacked: for its two products of some hundred it would be
 * repacked twice, once for each way.
 *
 *   x·W        [m, k]·[k, n]          FusedMatMul([1, m, k], Wᵀ as [1, n, k]), transB
 *   dy·Wᵀ      Gemm, transB           MatMul([1, m, n], Wᵀ as [1, n, k])
 *
 * The runtime packs matrices and no stacks of them, not even of one. What it computes while it opens lies in large pages,
 * as its file's bytes do not: each row of a projection is read once a step, when nothing of it is near any more, and
 * then it is the looking up of pages that takes the time.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { made, operationOf, reshape } from "./finished.ts";
import { int, intOf, ints } from "./graph.ts";
import type { Operation, Program, Value } from "./program.ts";
import { byteSize } from "./weight.ts";

/** Of all weights: a layer's is a hundredth of a model of thirty layers, a vocabulary's a fifth. */
const LARGE_SHARE = 1 / 16;
/** In a small model packing takes little, and every weight is a large share. */
const LARGE_BYTES = 32 * 2 ** 20;

export function withTurnedWeights(program: Program): Program {
  const weights = new Map<string, Value>();
  for (const { inputs } of program.operations)
    for (const input of inputs) if (input?.weight) weights.set(input.name, input);
  const bytes = ({ type, shape }: Value): number => byteSize(type, shape);
  const all = [...weights.values()].reduce((sum, weight) => sum + bytes(weight), 0);
  const least = Math.max(LARGE_BYTES, LARGE_SHARE * all);
  const turned = new Map<string, Operation>();
  for (const weight of weights.values()) {
    const { type, shape, name } = weight;
    if (type === "F32" && shape.length === 2 && bytes(weight) >= least) turned.set(name, turn(weight));
  }
  if (turned.size === 0) return program;
  const read = new Set<Operation>();
  const operations = program.operations.flatMap((operation) => {
    const weight = isProduct(operation) ? turned.get(operation.inputs[1]?.name ?? "") : undefined;
    if (weight === undefined) return [operation];
    const isFirst = !read.has(weight);
    read.add(weight);
    return [...(isFirst ? [weight] : []), ...withTurned(operation, weight.outputs[0]!)];
  });
  return { ...program, operations };
}

/** The runtime computes it when it opens the graph, since nothing but a constant enters. */
function turn(weight: Value): Operation {
  const [rows, columns] = weight.shape as [number, number];
  const shape = [1, rows, columns];
  const stack = { ...weight, name: `${weight.name}/stack`, shape, weight: { ...weight.weight!, shape } };
  const result = made(`${weight.name}/turned`, weight, [1, columns, rows]);
  return operationOf("Transpose", [stack], result, { perm: ints([0, 2, 1]) });
}

/** x·W or x·Wᵀ with nothing added. */
function isProduct(operation: Operation): boolean {
  if (operation.op === "MatMul") return true;
  const others = Object.keys(operation.attributes).filter((name) => name !== "transA" && name !== "transB");
  const plain = others.length === 0 && intOf(operation, "transA", 0) === 0;
  return operation.op === "Gemm" && plain && operation.inputs[2] === undefined;
}

function withTurned(operation: Operation, weight: Value): readonly Operation[] {
  const x = operation.inputs[0]!;
  const result = operation.outputs[0]!;
  const columns = result.shape.at(-1)!;
  const rows = sizeOf(result.shape) / columns;
  const stack = made(`${result.name}/rows`, x, [1, rows, x.shape.at(-1)!]);
  const product = made(`${result.name}/stack`, result, [1, rows, columns]);
  const wasTurned = operation.op === "Gemm" && intOf(operation, "transB", 0) === 1;
  return [
    reshape(x, stack),
    wasTurned
      ? { ...operation, op: "MatMul", inputs: [stack, weight], attributes: {}, outputs: [product] }
      : {
          ...operation,
          op: "FusedMatMul",
          domain: "com.microsoft",
          inputs: [stack, weight],
          attributes: { transB: int(1) },
          outputs: [product],
        },
    reshape(product, result),
  ];
}
