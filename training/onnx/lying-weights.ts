/**
 * With weights that the runtime repacks ("fast"), a weight that takes a large share of all of them is left as it lies in
 * its file: the projection onto a vocabulary. It is read once on the way there and once on the way back, so that packing
 * it for both holds twice its bytes for two products of some hundred.
 *
 *   x·W        [m, k]·[k, n]          MatMul([1, m, k], W as [1, k, n])
 *   dy·Wᵀ      Gemm, transB           FusedMatMul([1, m, n], W as [1, k, n]), transB
 *
 * The runtime packs matrices and no stacks of them, not even of one.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { int, intOf } from "./graph.ts";
import type { Operation, Program, Value } from "./program.ts";
import { byteSize, weightOf } from "./weight.ts";

/** Of all weights: a layer's is a hundredth of a model of thirty layers, a vocabulary's a fifth. */
const LARGE_SHARE = 1 / 16;
/** In a small model packing takes little, and every weight is a large share. */
const LARGE_BYTES = 32 * 2 ** 20;

export function withLyingWeights(program: Program): Program {
  const weights = new Map<string, Value>();
  for (const { inputs } of program.operations)
    for (const input of inputs) if (input?.weight) weights.set(input.name, input);
  const bytes = ({ type, shape }: Value): number => byteSize(type, shape);
  const all = [...weights.values()].reduce((sum, weight) => sum + bytes(weight), 0);
  const least = Math.max(LARGE_BYTES, LARGE_SHARE * all);
  const lying = new Map<string, Value>();
  for (const weight of weights.values()) {
    const { type, shape, name } = weight;
    if (type !== "F32" || shape.length !== 2 || bytes(weight) < least) continue;
    const stacked = [1, ...shape];
    lying.set(name, {
      ...weight,
      name: `${name}/lying`,
      shape: stacked,
      weight: { ...weight.weight!, shape: stacked },
    });
  }
  if (lying.size === 0) return program;
  return { ...program, operations: program.operations.flatMap((operation) => asStack(operation, lying)) };
}

/** The same product with the weight as a stack of one; other operations as they are. */
function asStack(operation: Operation, lying: ReadonlyMap<string, Value>): readonly Operation[] {
  const [x, w, bias] = operation.inputs;
  const weight = w?.weight && lying.get(w.name);
  const isGemm = operation.op === "Gemm" && intOf(operation, "transA", 0) === 0 && bias === undefined;
  if (!weight || x === undefined || !(isGemm || operation.op === "MatMul")) return [operation];
  if (isGemm && Object.keys(operation.attributes).some((name) => name !== "transA" && name !== "transB"))
    return [operation];
  const result = operation.outputs[0]!;
  const columns = result.shape.at(-1)!;
  const rows = sizeOf(result.shape) / columns;
  const turned = isGemm && intOf(operation, "transB", 0) === 1;
  const stack = made(`${result.name}/rows`, x, [1, rows, x.shape.at(-1)!]);
  const product = made(`${result.name}/stack`, result, [1, rows, columns]);
  return [
    reshape(x, stack),
    {
      ...operation,
      ...(turned ? { op: "FusedMatMul", domain: "com.microsoft" } : { op: "MatMul", domain: "" }),
      inputs: [stack, weight],
      attributes: turned ? { transB: int(1) } : {},
      outputs: [product],
    },
    reshape(product, result),
  ];
}

function made(name: string, { type }: Value, shape: readonly number[]): Value {
  return { id: -1, name, type, shape };
}

function reshape(from: Value, to: Value): Operation {
  const shape = weightOf("I64", [to.shape.length], BigInt64Array.from(to.shape, BigInt));
  const target: Value = {
    id: -1,
    name: `${to.name}/shape`,
    type: "I64",
    shape: [to.shape.length],
    weight: shape,
  };
  return {
    op: "Reshape",
    domain: "",
    name: "",
    inputs: [from, target],
    attributes: {},
    outputCount: 1,
    outputs: [to],
  };
}
