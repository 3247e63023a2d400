/** Where a rule could be wrong although it is right at random points: zeros, bounds, results that nothing reads, old forms. */
import { describe, expect, test } from "vitest";
import { float32, type Tensor, type TensorSet, tensor } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { compile, gradientName, NAMES } from "../../../training/onnx/compile.ts";
import { onnxRuntime } from "../../../training/onnx/edge/session.ts";
import {
  type Attributes,
  float,
  type Graph,
  type GraphNode,
  int,
  ints,
  string,
} from "../../../training/onnx/graph.ts";
import { upgrade } from "../../../training/onnx/lower/upgrade.ts";
import { NEWEST_OPSET } from "../../../training/onnx/rules/rule.ts";
import { type Weight, weightOf } from "../../../training/onnx/weight.ts";
import { directionalErrorOf } from "./rule-check.ts";

const ms = "com.microsoft";

function node(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Attributes = {},
  domain = "",
): GraphNode {
  return { op, domain, name: `test/${op}`, inputs, outputs, attributes };
}

/** @param outputs the first is the result */
function graphOf(
  nodes: readonly GraphNode[],
  values: ReadonlyMap<string, Tensor>,
  output: string,
  weights: ReadonlyMap<string, Weight> = new Map(),
  opset = 18,
): Graph {
  return {
    nodes,
    inputs: [...values].map(([name, { dtype, shape }]) => ({ name, type: dtype, shape })),
    outputs: [output],
    weights,
    opsets: new Map([
      ["", opset],
      [ms, 1],
    ]),
  };
}

const OPTIONS = { folder: "", opset: 18, device: "cpu", threads: 1, packWeights: false } as const;

const flat = (input: string): GraphNode => node("Flatten", [input], ["all"], { axis: int(0) });

async function resultOf(graph: Graph, values: ReadonlyMap<string, Tensor>): Promise<Float32Array> {
  const plan = { kind: "forward", output: graph.outputs[0]!, wanted: [] } as const;
  const opset = graph.opsets.get("")!;
  const session = await onnxRuntime.open(compile(graph, plan, values, new Map()), { ...OPTIONS, opset });
  const results = await session.run(new Map(session.inputs.map((name) => [name, values.get(name)!])));
  await session.close();
  return results.get(NAMES.output)!.data as Float32Array;
}

/** As in rules.test.ts. */
const LIMIT = 1e-3;

describe("gradients agree with central differences", () => {
  const errorOf = (nodes: readonly GraphNode[], inputs: Record<string, Tensor>): Promise<number> => {
    const values = new Map(Object.entries(inputs));
    return directionalErrorOf({ graph: graphOf(nodes, values, "all"), values }, createRng("edges"));
  };

  test("a product with no, one and two zeros among its factors", async () => {
    const x = float32([3, 3], [0.5, -1, 2, 0, 1.5, -0.5, 0, 2, 0]);
    const axes = new Map([["axes", weightOf("I64", [1], BigInt64Array.of(1n))]]);
    const values = new Map([["x", x]]);
    const graph = graphOf([node("ReduceProd", ["x", "axes"], ["y"]), flat("y")], values, "all", axes);
    expect(await directionalErrorOf({ graph, values }, createRng("edges"))).toBeLessThan(LIMIT);
  });

  test("bounds of a Clip that are trained", async () => {
    const x = float32([6], [-2, -0.9, -0.3, 0.3, 1.1, 2]);
    const [low, high] = [float32([], [-0.6]), float32([], [0.7])];
    expect(
      await errorOf([node("Clip", ["x", "low", "high"], ["y"]), flat("y")], { x, low, high }),
    ).toBeLessThan(LIMIT);
    // Crossed: the upper bound is what comes out.
    expect(
      await errorOf([node("Clip", ["x", "high", "low"], ["y"]), flat("y")], { x, low, high }),
    ).toBeLessThan(LIMIT);
  });
});

test("a row that a mask hides whole has no gradient, where the graph guards its Softmax against NaN", async () => {
  const values = new Map([
    ["scores", float32([3, 2], [1, 2, 3, 4, 5, 6])],
    ["v", float32([2, 2], [1, -1, 0.5, 2])],
  ]);
  const mask = [0, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
  const weights = new Map([
    ["mask", weightOf("F32", [3, 2], Float32Array.from(mask))],
    ["zero", weightOf("F32", [], Float32Array.of(0))],
  ]);
  const nodes = [
    node("Add", ["scores", "mask"], ["masked"]),
    node("Softmax", ["masked"], ["p"], { axis: int(-1) }),
    node("IsNaN", ["p"], ["none"]),
    node("Where", ["none", "zero", "p"], ["safe"]),
    node("MatMul", ["safe", "v"], ["product"]),
    flat("product"),
  ];
  const graph = graphOf(nodes, values, "all", weights);
  const program = compile(
    graph,
    { kind: "backward", output: "all", wanted: ["scores", "v"] },
    values,
    new Map(),
  );
  const session = await onnxRuntime.open(program, OPTIONS);
  const given: TensorSet = new Map([...values, [NAMES.outputGradient, float32([1, 6], [1, 2, 3, 4, 5, 6])]]);
  const results = await session.run(new Map(session.inputs.map((name) => [name, given.get(name)!])));
  await session.close();
  for (const { data } of results.values()) expect((data as Float32Array).every(Number.isFinite)).toBe(true);
  expect([...(results.get(gradientName("scores"))!.data as Float32Array)].slice(0, 4)).toEqual([0, 0, 0, 0]);
  expect(await directionalErrorOf({ graph, values }, createRng("edges"))).toBeLessThan(LIMIT);
});

test("the length of a vector of zeros has slope 0, not none", async () => {
  const values = new Map([["x", float32([2, 2], [0, 0, 3, 4])]]);
  const axes = new Map([["axes", weightOf("I64", [1], BigInt64Array.of(1n))]]);
  const graph = graphOf([node("ReduceL2", ["x", "axes"], ["y"])], values, "y", axes);
  const program = compile(graph, { kind: "backward", output: "y", wanted: ["x"] }, values, new Map());
  const session = await onnxRuntime.open(program, OPTIONS);
  const results = await session.run(new Map([...values, [NAMES.outputGradient, float32([2, 1], [1, 1])]]));
  await session.close();
  [...results.values()].forEach(({ data }) => {
    [0, 0, 0.6, 0.8].forEach((slope, i) => {
      expect(data[i]).toBeCloseTo(slope, 6);
    });
  });
});

describe("what older operator sets wrote otherwise means what it meant", () => {
  const x = float32(
    [2, 3, 2],
    Array.from({ length: 12 }, (_, i) => Math.sin(3 * i)),
  );
  const values = new Map([["x", x]]);
  const old = (op: string, attributes: Attributes, version: number): Promise<Float32Array> => {
    const graph = graphOf([node(op, ["x"], ["y"], attributes)], values, "y", new Map(), version);
    return resultOf(upgrade(graph, NEWEST_OPSET), values);
  };
  const close = (got: Float32Array, wanted: readonly number[]): void => {
    expect(got).toHaveLength(wanted.length);
    got.forEach((value, i) => {
      expect(value).toBeCloseTo(wanted[i]!, 5);
    });
  };
  const data = [...(x.data as Float32Array)];
  const softmax = (row: readonly number[]): number[] => {
    const sum = row.reduce((total, v) => total + Math.exp(v), 0);
    return row.map((v) => Math.exp(v) / sum);
  };
  const rows = (size: number): number[][] =>
    Array.from({ length: 12 / size }, (_, i) => data.slice(i * size, (i + 1) * size));

  test("a Softmax below 13 takes all axes from its own on as one, by default from the second", async () => {
    close(await old("Softmax", {}, 11), rows(6).flatMap(softmax));
    close(await old("Softmax", { axis: int(0) }, 11), softmax(data));
    close(await old("Softmax", { axis: int(2) }, 12), rows(2).flatMap(softmax));
    close(await old("LogSoftmax", { axis: int(1) }, 9), rows(6).flatMap(softmax).map(Math.log));
  });

  test("GridSample's modes have the names of 20", async () => {
    const sampled = new Map([
      ["picture", float32([1, 1, 2, 2], [1, 2, 3, 5])],
      // Two places, x before y: the first corner, and between all four.
      ["grid", float32([1, 1, 2, 2], [-1, -1, 0, 0])],
    ]);
    const read = node("GridSample", ["picture", "grid"], ["y"], {
      mode: string("bilinear"),
      align_corners: int(1),
    });
    const graph = upgrade(graphOf([read], sampled, "y", new Map(), 16), NEWEST_OPSET);
    close(await resultOf(graph, sampled), [1, (1 + 2 + 3 + 5) / 4]);
  });

  test("axes, pads, bounds and sizes that are attributes", async () => {
    close(
      await old("ReduceMean", { axes: ints([1]), keepdims: int(0) }, 17),
      [0, 1].flatMap((b) =>
        [0, 1].map((c) => [0, 1, 2].reduce((s, r) => s + data[b * 6 + r * 2 + c]!, 0) / 3),
      ),
    );
    close(await old("Unsqueeze", { axes: ints([0]) }, 12), data);
    close(await old("Slice", { starts: ints([1]), ends: ints([2]), axes: ints([0]) }, 9), data.slice(6));
    close(
      await old("Clip", { min: float(-0.5), max: float(0.5) }, 9),
      data.map((v) => Math.min(Math.max(v, -0.5), 0.5)),
    );
    close(
      await old("Pad", { pads: ints([0, 0, 0, 0, 0, 1]), value: float(7) }, 9),
      rows(2).flatMap((r) => [...r, 7]),
    );
    const split = graphOf(
      [node("Split", ["x"], ["a", "y"], { axis: int(1), split: ints([1, 2]) })],
      values,
      "y",
      new Map(),
      11,
    );
    close(
      await resultOf(upgrade(split, NEWEST_OPSET), values),
      rows(6).flatMap((r) => r.slice(2)),
    );
  });
});

test("a mask of fewer keys than there are hides the others from the standard's Attention", async () => {
  const values = new Map(
    [2, 4, 4].map((length, i) => {
      const data = Float32Array.from({ length: length * 4 }, (_, at) => Math.sin(at * (i + 2)));
      return ["qkv"[i]!, float32([1, 1, length, 4], data)];
    }),
  );
  const attend = (keys: number, mask: readonly number[]): Promise<Float32Array> => {
    const weights = new Map([["mask", weightOf("BOOL", [2, keys], Uint8Array.from(mask))]]);
    return resultOf(
      graphOf([node("Attention", ["q", "k", "v", "mask"], ["y"])], values, "y", weights, 24),
      values,
    );
  };
  const [short, whole] = [await attend(3, [1, 0, 1, 1, 1, 1]), await attend(4, [1, 0, 1, 0, 1, 1, 1, 0])];
  short.forEach((value, i) => {
    expect(value).toBeCloseTo(whole[i]!, 6);
  });
});

describe("GroupQueryAttention in forms that the runtime's CPU kernel does not have", () => {
  const rng = createRng("gqa");
  const random = (shape: readonly number[]): Tensor =>
    float32(
      shape,
      Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()),
    );
  const values = new Map([
    ["q", random([2, 3, 8])],
    ["k", random([2, 3, 4])],
    ["v", random([2, 3, 4])],
  ]);
  const past = weightOf("F32", [2, 1, 0, 4], new Float32Array(0));
  const weights = new Map<string, Weight>([
    ["past", past],
    ["last", weightOf("I32", [2], Int32Array.of(2, 1))],
    ["total", weightOf("I32", [], Int32Array.of(3))],
    ["norm", weightOf("F32", [4], Float32Array.of(0.5, 1, 1.5, -1))],
    ["lengths", weightOf("I64", [2], BigInt64Array.of(3n, 2n))],
  ]);
  const group = (extra: readonly string[], attributes: Attributes): GraphNode =>
    node(
      "GroupQueryAttention",
      ["q", "k", "v", "past", "past", "last", "total", ...extra],
      ["y"],
      { num_heads: int(2), kv_num_heads: int(1), ...attributes },
      ms,
    );

  test("without a causal mask: the standard's Attention with the lengths of the examples", async () => {
    const wanted = node("Attention", ["q", "k", "v", "", "", "", "lengths"], ["y"], {
      q_num_heads: int(2),
      kv_num_heads: int(1),
    });
    const got = await resultOf(graphOf([group([], { causal: int(0) })], values, "y", weights, 24), values);
    const expected = await resultOf(graphOf([wanted], values, "y", weights, 24), values);
    got.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 5);
    });
  });

  test("with norms of queries and keys inside: the same with the norms as nodes before it", async () => {
    const empty = ["", "", "", "", "", "", ""];
    const inside = group([...empty, "norm", "norm"], { qk_norm_epsilon: float(1e-3) });
    const norm = (name: string): GraphNode[] => [
      { ...node("Reshape", [name, "axes"], [`${name}4`]), name: `${name}/apart` },
      {
        ...node("SimplifiedLayerNormalization", [`${name}4`, "norm"], [`${name}n`], { epsilon: float(1e-3) }),
        name: `${name}/norm`,
      },
      { ...node("Reshape", [`${name}n`, "flat"], [`${name}Normal`]), name: `${name}/flat` },
    ];
    const more = new Map([
      ...weights,
      ["axes", weightOf("I64", [4], BigInt64Array.of(0n, 0n, -1n, 4n))] as const,
      ["flat", weightOf("I64", [3], BigInt64Array.of(0n, 0n, -1n))] as const,
    ]);
    const outside = {
      ...group([], {}),
      inputs: ["qNormal", "kNormal", "v", "past", "past", "last", "total"],
    };
    const got = await resultOf(graphOf([inside], values, "y", weights), values);
    const nodes = [...norm("q"), ...norm("k"), outside];
    const expected = await resultOf(graphOf(nodes, values, "y", more), values);
    got.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 5);
    });
  });

  test("a cache of few bits and an attribute of a later version are refused by name", async () => {
    const compiled = (attributes: Attributes) => () =>
      compile(
        graphOf([group([], attributes)], values, "y", weights),
        { kind: "forward", output: "y", wanted: [] },
        values,
        new Map(),
      );
    expect(compiled({ k_quant_type: string("PER_TENSOR") })).toThrow("its cache must not be quantized");
    expect(compiled({ sliding_window_cache: int(1) })).toThrow(
      /Cannot place com.microsoft.GroupQueryAttention of node "test\/GroupQueryAttention": its attributes may be causal, .*, got "sliding_window_cache"/,
    );
  });
});

test("a table of four bits is read where it lies: its rows are those of the numbers that it stands for", async () => {
  const [rows, width, block] = [5, 32, 16];
  const packed = Uint8Array.from({ length: (rows * width) / 2 }, (_, i) => (i * 41 + 5) % 256);
  const scales = Float32Array.from({ length: (rows * width) / block }, (_, i) => (i + 1) / 8);
  const weights = new Map([
    ["table", weightOf("U8", [rows, width / 2], packed)],
    ["scales", weightOf("F32", [rows, width / block], scales)],
  ]);
  const ids = tensor("I64", [1, 3], BigInt64Array.of(4n, 0n, 2n));
  const values = new Map([["ids", ids]]);
  const pick = node(
    "GatherBlockQuantized",
    ["table", "ids", "scales"],
    ["y"],
    { bits: int(4), block_size: int(block), quantize_axis: int(1) },
    ms,
  );
  const got = await resultOf(graphOf([pick], values, "y", weights), values);
  const wanted = [4, 0, 2].flatMap((row) =>
    Array.from({ length: width }, (_, i) => {
      const byte = packed[(row * width + i) >> 1]!;
      const bits = i % 2 === 0 ? byte & 15 : byte >> 4;
      return (bits - 8) * scales[Math.floor((row * width + i) / block)]!; // without zero points 8 is the middle
    }),
  );
  expect([...got]).toEqual(wanted);
});
