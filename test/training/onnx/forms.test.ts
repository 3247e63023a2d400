/** Cheaper forms of what exporters write in parts: found in the graph, right in value and gradient. */
import { describe, expect, test } from "vitest";
import type { Tensor } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { compile, NAMES } from "../../../training/onnx/compile.ts";
import { type Attributes, type Graph, type GraphNode, int, ints } from "../../../training/onnx/graph.ts";
import { permOf } from "../../../training/onnx/operators/layout.ts";
import type { Operation } from "../../../training/onnx/program.ts";
import type { Kernels } from "../../../training/onnx/runtime.ts";
import { type Weight, weightOf } from "../../../training/onnx/weight.ts";
import { directionalErrorOf, type GraphCase, random, resultsOf } from "./rule-check.ts";

/** Float32 forward values of about 1, over two steps of about 1e-2 (rules.test.ts). */
const LIMIT = 1e-3;
/** Two orders of the same sums in float32. */
const SAME = 2e-6;

/** A graph written node by node, as an exporter would. */
class Sketch {
  readonly nodes: GraphNode[] = [];
  readonly weights = new Map<string, Weight>();

  op(op: string, inputs: readonly string[], attributes: Attributes = {}): string {
    const name = `${op}_${this.nodes.length}`;
    this.nodes.push({ op, domain: "", name, inputs, outputs: [name], attributes });
    return name;
  }

  floats(shape: readonly number[], values: readonly number[]): string {
    return this.#constant(weightOf("F32", shape, Float32Array.from(values)));
  }

  integers(...values: number[]): string {
    return this.#constant(weightOf("I64", [values.length], BigInt64Array.from(values, BigInt)));
  }

  bools(shape: readonly number[], values: readonly boolean[]): string {
    return this.#constant(weightOf("BOOL", shape, Uint8Array.from(values, Number)));
  }

  graph(output: string, values: ReadonlyMap<string, Tensor>): GraphCase {
    this.nodes.push({
      op: "Identity",
      domain: "",
      name: "all",
      inputs: [output],
      outputs: ["all"],
      attributes: {},
    });
    const graph: Graph = {
      nodes: this.nodes,
      inputs: [...values].map(([name, { shape }]) => ({ name, type: "F32", shape })),
      outputs: ["all"],
      weights: this.weights,
      opsets: new Map([["", 18]]),
    };
    return { graph, values };
  }

  #constant(weight: Weight): string {
    const name = `c${this.weights.size}`;
    this.weights.set(name, weight);
    return name;
  }
}

async function outputOf(
  { graph, values }: GraphCase,
  kernels: Kernels,
): Promise<{ ops: string[]; data: Float32Array }> {
  const program = compile(graph, { kind: "forward", output: "all", wanted: [], kernels }, values, new Map());
  const results = await resultsOf(program, values);
  return {
    ops: program.operations.map(({ op }) => op),
    data: results.get(NAMES.output)!.data as Float32Array,
  };
}

const largestDifference = (a: Float32Array, b: Float32Array): number =>
  a.reduce((max, v, i) => Math.max(max, Math.abs(v - b[i]!)), 0);

function rmsNorm(inverse: "Reciprocal" | "Div by" | "Div"): GraphCase {
  const sketch = new Sketch();
  const values = new Map([
    ["x", random([2, 3, 8], createRng("rms x"), [-1, 1])],
    ["scale", random([8], createRng("rms scale"), [0.5, 1.5])],
  ]);
  const square = sketch.op("Pow", ["x", sketch.floats([], [2])]);
  const mean = sketch.op("ReduceMean", [square, sketch.integers(-1)], { keepdims: int(1) });
  const deviation = sketch.op("Sqrt", [sketch.op("Add", [mean, sketch.floats([], [1e-5])])]);
  const normal =
    inverse === "Div by"
      ? sketch.op("Div", ["x", deviation])
      : sketch.op("Mul", [
          "x",
          inverse === "Div"
            ? sketch.op("Div", [sketch.floats([], [1]), deviation])
            : sketch.op("Reciprocal", [deviation]),
        ]);
  return sketch.graph(sketch.op("Mul", ["scale", normal]), values);
}

/** x [1, 2, 3, 8] turned by tables whose halves are equal, or not. */
function rotary(equalHalves: boolean): GraphCase {
  const sketch = new Sketch();
  const values = new Map([["x", random([1, 2, 3, 8], createRng("rotary"), [-1, 1])]]);
  const angles = (phase: number) =>
    sketch.floats(
      [3, 4],
      Array.from({ length: 12 }, (_, i) => Math.sin(i + phase)),
    );
  const both = sketch.op("Concat", [angles(0), angles(equalHalves ? 0 : 1)], { axis: int(-1) });
  const table = sketch.op("Unsqueeze", [both, sketch.integers(0, 1)]);
  const part = (from: number, to: number) =>
    sketch.op("Slice", ["x", ...[from, to, 3, 1].map((v) => sketch.integers(v))]);
  const crossed = sketch.op("Concat", [sketch.op("Neg", [part(4, 8)]), part(0, 4)], { axis: int(-1) });
  const straight = sketch.op("Mul", ["x", sketch.op("Cos", [table])]);
  const turned = sketch.op("Add", [straight, sketch.op("Mul", [crossed, sketch.op("Sin", [table])])]);
  return sketch.graph(sketch.op("Mul", [turned, sketch.floats([], [0.25])]), values);
}

/** Two heads that share keys, 512 positions, padding as data; the causal part in sight or mixed into the data. */
function attention(causalInSight: boolean): GraphCase {
  const [length, size] = [512, 4];
  const rng = createRng("attention");
  const sketch = new Sketch();
  const padding = new Float32Array(length).map((_, i) => (i >= 500 ? -1e9 : 0));
  const causal = Array.from({ length: length * length }, (_, i) => i % length <= Math.floor(i / length));
  const values = new Map([
    ["q", random([1, 2, length, size], rng, [-1, 1])],
    ["k", random([1, 1, length, size], rng, [-1, 1])],
    ["v", random([1, 1, length, size], rng, [-1, 1])],
  ]);
  const open = sketch.op("Where", [
    sketch.bools([1, 1, length, length], causal),
    sketch.floats([], [0]),
    sketch.floats([], [causalInSight ? -3.4e38 : -1e20]),
  ]);
  const mask = sketch.op("Add", [open, sketch.floats([1, 1, 1, length], [...padding])]);
  const repeated = (name: string): string => {
    const wide = sketch.op("Expand", [
      sketch.op("Unsqueeze", [name, sketch.integers(2)]),
      sketch.integers(1, 1, 2, 1, 1),
    ]);
    return sketch.op("Reshape", [wide, sketch.integers(1, 2, length, size)]);
  };
  const scores = sketch.op("MatMul", [
    "q",
    sketch.op("Transpose", [repeated("k")], { perm: ints([0, 1, 3, 2]) }),
  ]);
  const weights = sketch.op("Softmax", [sketch.op("Add", [scores, mask])], { axis: int(-1) });
  return sketch.graph(sketch.op("MatMul", [weights, repeated("v")]), values);
}

describe("root mean square normalization", () => {
  test.each(["Reciprocal", "Div", "Div by"] as const)("written with %s is one kernel", async (inverse) => {
    const wanted = rmsNorm(inverse);
    const { ops, data } = await outputOf(wanted, "all");
    expect(ops).toEqual(["SimplifiedLayerNormalization"]);
    const x = wanted.values.get("x")!.data as Float32Array;
    const scale = wanted.values.get("scale")!.data as Float32Array;
    const expected = x.map((v, i) => {
      const row = x.subarray(i - (i % 8), i - (i % 8) + 8);
      return (v * scale[i % 8]!) / Math.sqrt(row.reduce((sum, e) => sum + e * e, 0) / 8 + 1e-5);
    });
    expect(largestDifference(data, expected)).toBeLessThan(SAME);
    expect(await directionalErrorOf(wanted, createRng(inverse))).toBeLessThan(LIMIT);
  });
});

describe("rotary positions", () => {
  test("are one kernel with the scale in its tables, the same as their parts", async () => {
    const kernel = await outputOf(rotary(true), "all");
    const parts = await outputOf(rotary(true), "standard");
    expect(kernel.ops.filter((op) => op === "RotaryEmbedding")).toHaveLength(1);
    expect(parts.ops).not.toContain("RotaryEmbedding");
    expect(largestDifference(kernel.data, parts.data)).toBeLessThan(SAME);
    expect(await directionalErrorOf(rotary(true), createRng("turned"))).toBeLessThan(LIMIT);
  });

  test("stay in parts where the halves of the tables differ", async () => {
    expect((await outputOf(rotary(false), "all")).ops).not.toContain("RotaryEmbedding");
  });
});

describe("attention under a causal mask", () => {
  test("is taken in blocks of queries, and says what the whole says", async () => {
    const blocks = await outputOf(attention(true), "all");
    const whole = await outputOf(attention(false), "all");
    const count = ({ ops }: { ops: readonly string[] }) => ops.filter((op) => op === "Softmax").length;
    expect([count(blocks), count(whole)]).toEqual([2, 1]);
    expect(largestDifference(blocks.data, whole.data)).toBeLessThan(SAME);
  });

  test("has right gradients in blocks", async () => {
    expect(await directionalErrorOf(attention(true), createRng("blocks"))).toBeLessThan(LIMIT);
  });
});

/** The operations of a graph's way back, from the gradient of its output to those of all inputs. */
function backward({ graph, values }: GraphCase): readonly Operation[] {
  const rows = values.get("u") ?? values.get("q")!;
  const given = new Map([...values, [NAMES.outputGradient, rows]]);
  const plan = { kind: "backward", output: "all", wanted: [...values.keys()] } as const;
  return compile(graph, plan, given, new Map()).operations;
}

describe("a swish gate", () => {
  /** x sigmoid(x) u */
  function gate(): GraphCase {
    const sketch = new Sketch();
    const values = new Map([
      ["x", random([4, 6], createRng("gate x"), [-3, 3])],
      ["u", random([4, 6], createRng("gate u"), [-1, 1])],
    ]);
    const swish = sketch.op("Mul", ["x", sketch.op("Sigmoid", ["x"])]);
    return sketch.graph(sketch.op("Mul", [swish, "u"]), values);
  }

  test("goes back in seven passes, of which both gradients share the first two", async () => {
    const ops = backward(gate()).map(({ op }) => op);
    expect(ops.toSorted()).toEqual(["Add", "Mul", "Mul", "Mul", "Mul", "QuickGelu", "Sigmoid"]);
    expect(await directionalErrorOf(gate(), createRng("gate"))).toBeLessThan(LIMIT);
  });
});

describe("queries and keys that are scaled by the root each", () => {
  const [heads, length, size] = [4, 5, 3] as const;

  /** Queries of four heads, keys of two, repeated, turned and scaled, as the older exporter writes it. */
  function scores(): GraphCase {
    const sketch = new Sketch();
    const values = new Map([
      ["q", random([1, heads, length, size], createRng("scaled q"), [-1, 1])],
      ["k", random([1, 2, length, size], createRng("scaled k"), [-1, 1])],
    ]);
    const apart = sketch.op("Unsqueeze", ["k", sketch.integers(2)]);
    const repeated = sketch.op("Expand", [apart, sketch.integers(1, 2, 2, length, size)]);
    const keys = sketch.op("Reshape", [repeated, sketch.integers(1, heads, length, size)]);
    const turned = sketch.op("Transpose", [keys], { perm: ints([0, 1, 3, 2]) });
    const root = sketch.floats([], [0.5]);
    return sketch.graph(
      sketch.op("MatMul", [sketch.op("Mul", ["q", root]), sketch.op("Mul", [turned, root])]),
      values,
    );
  }

  test("are scaled once, on the queries, and keys are not repeated", async () => {
    const wanted = scores();
    const { ops, data } = await outputOf(wanted, "all");
    expect(ops.filter((op) => op === "Mul" || op === "Expand")).toEqual(["Mul"]);
    const q = wanted.values.get("q")!.data as Float32Array;
    const k = wanted.values.get("k")!.data as Float32Array;
    const expected = Float32Array.from({ length: heads * length * length }, (_, i) => {
      const [head, query, key] = [Math.floor(i / length ** 2), Math.floor(i / length) % length, i % length];
      const terms = Array.from({ length: size }, (_, at) => {
        const own = q[(head * length + query) * size + at]!;
        return own * k[(Math.floor(head / 2) * length + key) * size + at]!;
      });
      return terms.reduce((sum, term) => sum + term, 0) / 4;
    });
    expect(largestDifference(data, expected)).toBeLessThan(SAME);
    expect(await directionalErrorOf(wanted, createRng("scaled"))).toBeLessThan(LIMIT);
  });
});

describe("gradients of keys and values", () => {
  /** Heads side by side in rows [1, 6, 2 x 4], as projections give them. */
  function heads(): GraphCase {
    const sketch = new Sketch();
    const rng = createRng("heads");
    const values = new Map(["q", "k", "v"].map((name) => [name, random([1, 6, 8], rng, [-1, 1])] as const));
    const split = (name: string, ...perm: number[]): string =>
      sketch.op("Transpose", [sketch.op("Reshape", [name, sketch.integers(1, 6, 2, 4)])], {
        perm: ints(perm),
      });
    const scores = sketch.op("MatMul", [split("q", 0, 2, 1, 3), split("k", 0, 2, 3, 1)]);
    const weights = sketch.op("Softmax", [scores], { axis: int(-1) });
    const context = sketch.op("Transpose", [sketch.op("MatMul", [weights, split("v", 0, 2, 1, 3)])], {
      perm: ints([0, 2, 1, 3]),
    });
    return sketch.graph(sketch.op("Reshape", [context, sketch.integers(1, 6, 8)]), values);
  }

  test("come as rows of heads, so that whole rows are moved", async () => {
    const turned = backward(heads()).filter(
      (operation) =>
        operation.op === "Transpose" &&
        permOf(operation).at(-1) !== 3 &&
        operation.inputs[0]!.from?.op === "MatMul",
    );
    expect(turned).toEqual([]);
    expect(await directionalErrorOf(heads(), createRng("rows"))).toBeLessThan(LIMIT);
  });
});
