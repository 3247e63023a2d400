/** Scores under a causal mask get a floor in front of their softmax: the same weights, and nothing hidden comes through. */
import { describe, expect, test } from "vitest";
import { float32, type TensorSet, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { compile, gradientName, NAMES } from "../../../training/onnx/compile.ts";
import { type Graph, type GraphNode, int, ints } from "../../../training/onnx/graph.ts";
import type { Program } from "../../../training/onnx/program.ts";
import { withScoreFloors } from "../../../training/onnx/score-floor.ts";
import { weightOf } from "../../../training/onnx/weight.ts";
import { resultsOf } from "./rule-check.ts";

const HEADS = 2;
const SIZE = 4;
const LOWEST = -3.4028234663852886e38;
/** Sums of float32 in one order; a floor changes no weight that they could hold. */
const SAME = 1e-6;

/** softmax(q·kᵀ + mask)·v with a mask [1, 1, S, S] that hides whatever `hidden` says. */
function attention(length: number, hidden: (row: number, column: number) => boolean): Graph {
  const mask = Float32Array.from({ length: length * length }, (_, i) =>
    hidden(Math.floor(i / length), i % length) ? LOWEST : 0,
  );
  const node = (op: string, inputs: string[], output: string, attributes = {}): GraphNode => ({
    op,
    domain: "",
    name: output,
    inputs,
    outputs: [output],
    attributes,
  });
  return {
    nodes: [
      node("Transpose", ["k"], "turned", { perm: ints([0, 1, 3, 2]) }),
      node("MatMul", ["q", "turned"], "scores"),
      node("Add", ["scores", "mask"], "masked"),
      node("Softmax", ["masked"], "weights", { axis: int(-1) }),
      node("MatMul", ["weights", "v"], "all"),
    ],
    inputs: ["q", "k", "v"].map((name) => ({ name, type: "F32", shape: [1, HEADS, length, SIZE] })),
    outputs: ["all"],
    weights: new Map([["mask", weightOf("F32", [1, 1, length, length], mask)]]),
    opsets: new Map([["", 18]]),
  };
}

function inputsOf(length: number, spread = 1): TensorSet {
  const rng = createRng("score floor");
  const normal = (scale: number) =>
    Float32Array.from({ length: HEADS * length * SIZE }, () => scale * rng.normal());
  const shape = [1, HEADS, length, SIZE];
  return tensorSet([
    ["q", float32(shape, normal(spread))],
    ["k", float32(shape, normal(1))],
    ["v", float32(shape, normal(1))],
    [NAMES.outputGradient, float32(shape, normal(1))],
  ]);
}

const operators = ({ operations }: Program): readonly string[] => operations.map(({ op }) => op);
const causal = (row: number, column: number): boolean => column > row;

describe("scores under a causal mask", () => {
  test.each([
    ["alike", 1],
    ["that lie hundreds apart from row to row", 200],
  ])("%s give the same output and gradients as without a floor", async (_, spread) => {
    const graph = attention(24, causal);
    const inputs = inputsOf(24, spread);
    const wanted = ["q", "k", "v"];
    const program = compile(graph, { kind: "backward", output: "all", wanted }, inputs, new Map());
    const floored = withScoreFloors(program);
    expect(operators(program)).not.toContain("Clip");
    expect(operators(floored)).toContain("Clip");
    const [plain, other] = [await resultsOf(program, inputs), await resultsOf(floored, inputs)];
    for (const name of wanted) {
      const [a, b] = [plain, other].map((of) => of.get(gradientName(name))!.data as Float32Array);
      const largest = a!.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
      expect(largest).toBeGreaterThan(0);
      a!.forEach((v, i) => {
        expect(Math.abs(v - b![i]!)).toBeLessThan(SAME * largest);
      });
    }
  });

  test("let nothing through that is hidden, however large it is", async () => {
    const length = 8;
    const inputs = inputsOf(length);
    const k = inputs.get("k")!.data as Float32Array;
    const q = inputs.get("q")!.data as Float32Array;
    q.fill(1);
    k.fill(0);
    // The last position's score is 4,000 for every query; only the last query sees it.
    for (let head = 0; head < HEADS; head++)
      k.fill(1000, (head + 1) * length * SIZE - SIZE, (head + 1) * length * SIZE);
    const forward = compile(
      attention(length, causal),
      { kind: "forward", output: "all", wanted: [] },
      inputs,
      new Map(),
    );
    const output = (await resultsOf(withScoreFloors(forward), inputs)).get(NAMES.output)!
      .data as Float32Array;
    const v = inputs.get("v")!.data as Float32Array;
    for (let head = 0; head < HEADS; head++)
      for (let row = 0; row < length; row++)
        for (let i = 0; i < SIZE; i++) {
          const at = (position: number): number => v[(head * length + position) * SIZE + i]!;
          // All seen scores are 0, so a row is the mean of what it sees; the last one sees its own alone.
          const mean =
            Array.from({ length: row + 1 }, (_, j) => at(j)).reduce((sum, x) => sum + x, 0) / (row + 1);
          const expected = row === length - 1 ? at(row) : mean;
          expect(output[(head * length + row) * SIZE + i]).toBeCloseTo(expected, 5);
        }
  });

  test("stay NaN where they are NaN, so that a step tells of it", async () => {
    const inputs = inputsOf(8);
    (inputs.get("q")!.data as Float32Array)[5 * SIZE] = Number.NaN;
    const forward = compile(
      attention(8, causal),
      { kind: "forward", output: "all", wanted: [] },
      inputs,
      new Map(),
    );
    const output = (await resultsOf(withScoreFloors(forward), inputs)).get(NAMES.output)!
      .data as Float32Array;
    expect(output.slice(5 * SIZE, 6 * SIZE).every(Number.isNaN)).toBe(true);
  });
});

test("queries in blocks have floors of their own", () => {
  const inputs = inputsOf(512);
  const forward = compile(
    attention(512, causal),
    { kind: "forward", output: "all", wanted: [] },
    inputs,
    new Map(),
  );
  const floors = operators(withScoreFloors(forward)).filter((op) => op === "Clip");
  expect(operators(forward).filter((op) => op === "Softmax")).toHaveLength(2);
  expect(floors).toHaveLength(2);
});

test("a mask that hides little gets no floor", () => {
  const inputs = inputsOf(16);
  const graph = attention(16, (_, column) => column > 14);
  const forward = compile(graph, { kind: "forward", output: "all", wanted: [] }, inputs, new Map());
  expect(withScoreFloors(forward).operations).toEqual(forward.operations);
});
