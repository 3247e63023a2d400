/** A frozen weight with long rows that is read transposed becomes the left operand, with the same result. */
import { expect, test } from "vitest";
import { float32, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { compile, NAMES } from "../../../training/onnx/compile.ts";
import { float, type Graph, int } from "../../../training/onnx/graph.ts";
import { withLeftWeights } from "../../../training/onnx/left-weights.ts";
import type { Program } from "../../../training/onnx/program.ts";
import { weightOf } from "../../../training/onnx/weight.ts";
import { resultsOf } from "./rule-check.ts";

const ROWS = 2;
const WIDTH = 3;
const LENGTH = 48;
const rng = createRng("left weights");
const normal = (size: number) => Float32Array.from({ length: size }, () => rng.normal());

/** x [2, 48] times [3, 48]ᵀ, or what else `attributes` and `inputs` say. */
function product(
  length = LENGTH,
  attributes: Graph["nodes"][number]["attributes"] = { transB: int(1) },
  inputs: readonly string[] = ["x", "W"],
): { readonly program: Program; readonly x: Float32Array; readonly weights: Float32Array } {
  const weights = normal(WIDTH * length);
  const graph: Graph = {
    nodes: [{ op: "Gemm", domain: "", name: "y", inputs, outputs: ["y"], attributes }],
    inputs: [{ name: "x", type: "F32", shape: [ROWS, length] }],
    outputs: ["y"],
    weights: new Map([
      ["W", weightOf("F32", [WIDTH, length], weights)],
      ["C", weightOf("F32", [WIDTH], normal(WIDTH))],
    ]),
    opsets: new Map([["", 18]]),
  };
  const x = normal(ROWS * length);
  const values = tensorSet([["x", float32([ROWS, length], x)]]);
  return {
    program: compile(graph, { kind: "forward", output: "y", wanted: [] }, values, new Map()),
    x,
    weights,
  };
}

test("x·Wᵀ is (W·xᵀ)ᵀ and gives what the sums give", async () => {
  const { program, x, weights } = product();
  const left = withLeftWeights(program);
  expect(left.operations.map(({ op }) => op)).toEqual(["Gemm", "Reshape", "Transpose", "Reshape"]);
  expect(left.operations[0]!.inputs.map((input) => input!.name)).toEqual(["W", "x"]);
  const y = (await resultsOf(left, tensorSet([["x", float32([ROWS, LENGTH], x)]]))).get(NAMES.output)!;
  expect(y.shape).toEqual([ROWS, WIDTH]);
  y.data.forEach((v, at) => {
    const [row, column] = [Math.floor(at / WIDTH), at % WIDTH];
    const wanted = Array.from(
      { length: LENGTH },
      (_, i) => x[row * LENGTH + i]! * weights[column * LENGTH + i]!,
    ).reduce((sum, term) => sum + term, 0);
    expect(v).toBeCloseTo(wanted, 4); // sums of 48 products in float32
  });
});

test.each([
  ["a weight of rows 15 times as long as many", product(WIDTH * 15)],
  ["something added", product(LENGTH, { transB: int(1) }, ["x", "W", "C"])],
  ["a factor", product(LENGTH, { transB: int(1), alpha: float(2) })],
])("a product with %s stays as it is", (_, { program }) => {
  expect(withLeftWeights(program)).toEqual(program);
});
