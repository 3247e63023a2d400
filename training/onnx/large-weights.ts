/**
 * With weights that the runtime repacks ("fast"), a weight that takes a large share of all of them, the projection onto a
 * vocabulary, is copied once while the session opens, and not repacked: for its two products of some hundred it would be
 * repacked twice, once for each way.
 *
 *   x·W        [m, k]·[k, n]          MatMul([1, m, k], W as [1, k, n])
 *   dy·Wᵀ      Gemm, transB           FusedMatMul(W as [1, k, n], dy as [1, m, n]), transB, and the result turned
 *
 * (and the other way round where the file has Wᵀ). The runtime packs right operands that are matrices, no stacks of them,
 * not even of one, and no left ones, which it reads as they lie (left-weights.ts). What it computes while it opens lies in
 * large pages, as its file's bytes do not: each row of a projection is read once a step, when nothing of it is near any
 * more, and then it is the looking up of pages that takes the time.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { made, operationOf, reshape } from "./finished.ts";
import { int, intOf, ints } from "./graph.ts";
import { isPlainGemm } from "./left-weights.ts";
import type { Operation, Program, Value } from "./program.ts";
import { byteSize } from "./weight.ts";

/** Of all weights: a layer's is a hundredth of a model of thirty layers, a vocabulary's a fifth. */
const LARGE_SHARE = 1 / 16;
/** In a small model packing takes little, and every weight is a large share. */
const LARGE_BYTES = 32 * 2 ** 20;

export function withLargeWeights(program: Program): Program {
  const weights = new Map<string, Value>();
  for (const { inputs } of program.operations)
    for (const input of inputs) if (input?.weight) weights.set(input.name, input);
  const bytes = ({ type, shape }: Value): number => byteSize(type, shape);
  const all = [...weights.values()].reduce((sum, weight) => sum + bytes(weight), 0);
  const least = Math.max(LARGE_BYTES, LARGE_SHARE * all);
  const copies = new Map<string, Operation>();
  for (const weight of weights.values()) {
    const { type, shape, name } = weight;
    if (type === "F32" && shape.length === 2 && bytes(weight) >= least) copies.set(name, copyOf(weight));
  }
  if (copies.size === 0) return program;
  const read = new Set<Operation>();
  const operations = program.operations.flatMap((operation) => {
    const copy =
      operation.op === "MatMul" || isPlainGemm(operation)
        ? copies.get(operation.inputs[1]?.name ?? "")
        : undefined;
    if (copy === undefined) return [operation];
    const isFirst = !read.has(copy);
    read.add(copy);
    return [...(isFirst ? [copy] : []), ...withCopy(operation, copy.outputs[0]!)];
  });
  return { ...program, operations };
}

/** The runtime computes it when it opens the graph, since nothing but a constant enters: [k, 1, n] -> [1, k, n]. */
function copyOf(weight: Value): Operation {
  const [rows, columns] = weight.shape as [number, number];
  const shape = [rows, 1, columns];
  const apart = { ...weight, name: `${weight.name}/apart`, shape, weight: { ...weight.weight!, shape } };
  const result = made(`${weight.name}/copy`, weight, [1, rows, columns]);
  return operationOf("Transpose", [apart], result, { perm: ints([1, 0, 2]) });
}

function withCopy(operation: Operation, weight: Value): readonly Operation[] {
  const x = operation.inputs[0]!;
  const result = operation.outputs[0]!;
  const columns = result.shape.at(-1)!;
  const rows = sizeOf(result.shape) / columns;
  const stack = made(`${result.name}/rows`, x, [1, rows, x.shape.at(-1)!]);
  const product = made(`${result.name}/stack`, result, [1, rows, columns]);
  const transposed = operation.op === "Gemm" && intOf(operation, "transB", 0) === 1;
  if (!transposed)
    return [
      reshape(x, stack),
      { ...operation, op: "MatMul", inputs: [stack, weight], attributes: {}, outputs: [product] },
      reshape(product, result),
    ];
  const left = made(`${result.name}/left`, result, [1, columns, rows]);
  return [
    reshape(x, stack),
    {
      ...operation,
      op: "FusedMatMul",
      domain: "com.microsoft",
      inputs: [weight, stack],
      attributes: { transB: int(1) },
      outputs: [left],
    },
    operationOf("Transpose", [left], product, { perm: ints([0, 2, 1]) }),
    reshape(product, result),
  ];
}
