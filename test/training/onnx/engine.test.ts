import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readPeft } from "../../../adapters/peft.ts";
import { openSafetensors } from "../../../adapters/safetensors.ts";
import { float32, type Tensor, type TensorSet, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { loraSpecs } from "../../../training/lora-specs.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import type { EngineOptions, GraphFile } from "../../../training/onnx/engine.ts";
import { encodeModel } from "../../../training/onnx/format/codec.ts";
import type { NodeProto, TensorProto, ValueInfoProto } from "../../../training/onnx/format/schema.ts";
import { openEngine } from "../../../training/onnx/open.ts";

const folder = mkdtempSync(join(tmpdir(), "fedloom-engine-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A graph from input_ids [B, S] to logits [B, S, 4]. */
function graphFile(
  nodes: NodeProto[],
  initializer: TensorProto[],
  opset = 18,
  more: ValueInfoProto[] = [],
): GraphFile {
  const ids = { elemType: 7, shape: { dim: [{ dimParam: "batch" }, { dimParam: "length" }] } };
  const bytes = encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: opset }],
    graph: {
      name: "test",
      node: nodes,
      initializer,
      input: [{ name: "input_ids", type: { tensorType: ids } }, ...more],
      output: [{ name: "logits", type: { tensorType: { elemType: 1 } } }],
    },
  });
  return { name: "test.onnx", bytes, folder, fileName: "test.onnx", read: readNothing };
}

const readNothing = (): never => {
  throw new Error("The graph has no weights in files");
};

const weights = (name: string, dims: number[]): TensorProto => {
  const rng = createRng(name);
  const values = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal());
  return { name, dataType: 1, dims, rawData: new Uint8Array(values.buffer) };
};
const gather: NodeProto = {
  opType: "Gather",
  name: "/embed/Gather",
  input: ["embed.weight", "input_ids"],
  output: ["x"],
};
const head: NodeProto = {
  opType: "MatMul",
  name: "/model/head/MatMul",
  input: ["y", "head.weight"],
  output: ["logits"],
};
const project: NodeProto = {
  opType: "MatMul",
  name: "/model/proj/MatMul",
  input: ["x", "proj.weight"],
  output: ["p"],
};
const BASE = [
  weights("embed.weight", [5, 3]),
  weights("proj.weight", [3, 3]),
  weights("head.weight", [3, 4]),
];

const int64 = (shape: number[], values: number[]): Tensor =>
  tensor(
    "I64",
    shape,
    BigInt64Array.from(values, (v) => BigInt(v)),
  );
const ids = int64([2, 3], [0, 1, 2, 3, 4, 0]);
const labels = int64([2, 3], [-100, 1, 2, -100, -100, 3]);
const batch = { inputs: tensorSet([["input_ids", ids]]), labels };
const lora: EngineOptions["lora"] = [{ path: "model.proj", rank: 2, scale: 0.5 }];
const factors = (rank = 2): TensorSet => {
  const draw = createRng("factors");
  const random = (dims: number[]) =>
    float32(
      dims,
      Float32Array.from({ length: dims[0]! * dims[1]! }, () => draw.normal()),
    );
  return tensorSet([
    ["base_model.model.model.proj.lora_A.weight", random([rank, 3])],
    ["base_model.model.model.proj.lora_B.weight", random([3, rank])],
  ]);
};
const openWith = (between: NodeProto[], more: Partial<EngineOptions> = {}, opset = 18) =>
  openEngine({
    file: graphFile([gather, project, ...between, head], BASE, opset),
    lora,
    objective: "tokens",
    threads: 1,
    ...more,
  });
const tanh: NodeProto = { opType: "Tanh", name: "/act/Tanh", input: ["p"], output: ["y"] };

describe("refuses before anything runs", () => {
  test("an operator that it does not know, by name and node", async () => {
    const engine = await openWith([{ opType: "Unheard", name: "/odd/Unheard", input: ["p"], output: ["y"] }]);
    await expect(engine.step(batch, factors())).rejects.toThrow(
      'Cannot use operator Unheard of node "/odd/Unheard"',
    );
  });

  test("an operator without a rule on the way of a gradient", async () => {
    const engine = await openWith([
      { opType: "LpNormalization", name: "/odd/LpNormalization", input: ["p"], output: ["y"] },
    ]);
    await expect(engine.step(batch, factors())).rejects.toThrow(
      'Cannot differentiate LpNormalization of node "/odd/LpNormalization": it has no gradient rule',
    );
  });

  test("an attribute that its rule does not read, by name and node", async () => {
    const odd: NodeProto[] = [{ ...tanh, attribute: [{ name: "steepness", type: 1, f: 2 }] }];
    const engine = await openWith(odd);
    await expect(engine.step(batch, factors())).rejects.toThrow(
      'Cannot differentiate Tanh of node "/act/Tanh": its attributes may be none, got "steepness"',
    );
  });

  test.each([8, 99])("operator set %i", async (opset) => {
    await expect(openWith([tanh], {}, opset)).rejects.toThrow(
      `its operator set must be 9 to 24, got ${opset}`,
    );
  });

  test("a graph that is none", async () => {
    const file = { ...graphFile([], []), bytes: new Uint8Array([255, 255, 255, 255, 1]) };
    await expect(openEngine({ file, lora: [], objective: "tokens" })).rejects.toMatchObject({
      code: "F2110",
    });
  });

  test("a batch without an input, and one of another type", async () => {
    const engine = await openWith([tanh]);
    await expect(engine.step({ inputs: new Map(), labels }, factors())).rejects.toThrow(
      'it wants input "input_ids" I64 [batch, length], got none',
    );
    const floats = tensorSet([["input_ids", float32([2, 3], [0, 1, 2, 3, 4, 0])]]);
    await expect(engine.step({ inputs: floats, labels }, factors())).rejects.toThrow(
      'Cannot use input "input_ids": it must be I64 [batch, length], got F32 [2, 3]',
    );
  });

  test("a parameter of another rank", async () => {
    const engine = await openWith([tanh]);
    await expect(engine.step(batch, factors(3))).rejects.toThrow("must be F32 [2, 3], got F32 [3, 3]");
  });

  test("an initializer to train that the graph does not have", async () => {
    await expect(openWith([tanh], { trainable: ["norm.weight"] })).rejects.toThrow(
      'Cannot train "norm.weight": it must be a floating-point initializer of the graph, got none',
    );
  });
});

describe("what is trained", () => {
  test("frozen parameters get no gradient", async () => {
    const engine = await openWith([tanh], { frozen: "lora_A" });
    const { gradients } = await engine.step(batch, factors());
    expect([...gradients.keys()]).toEqual(["base_model.model.model.proj.lora_B.weight"]);
    await engine.close();
  });

  test("a module that the graph lacks is reported", async () => {
    const engine = await openWith([tanh], { lora: [...lora, { path: "model.other", rank: 2, scale: 1 }] });
    expect(engine.absent).toEqual(["model.other"]);
  });

  test("an initializer under its own name, embeddings too: central differences along the gradient agree", async () => {
    const engine = await openWith([tanh], { lora: [], trainable: ["embed.weight", "head.weight"] });
    const start = engine.initialValues();
    const { gradients } = await engine.step(batch, start);
    expect([...gradients.keys()]).toEqual(["embed.weight", "head.weight"]);
    for (const [name, gradient] of gradients) {
      const g = gradient.data as Float32Array;
      const square = g.reduce((sum, v) => sum + v * v, 0);
      const at = async (t: number) => {
        const moved = (start.get(name)!.data as Float32Array).map(
          (v, i) => v + (t * g[i]!) / Math.sqrt(square),
        );
        return (await engine.step(batch, new Map([...start, [name, float32(gradient.shape, moved)]])))
          .lossSum;
      };
      // Along the unit gradient the slope is its length; float32 losses over 2e-2 leave about 1e-4.
      expect(((await at(1e-2)) - (await at(-1e-2))) / 2e-2 / Math.sqrt(square)).toBeCloseTo(1, 2);
    }
    await engine.close();
  });
});

const model = join(import.meta.dirname, "../../golden/models/smollm-tiny");
const adapter = readPeft(join(model, "reference/r4_a8_qkvo/adapter"));
const openTiny = () =>
  openEngine({
    file: openGraphFile(join(model, "onnx/model.onnx")),
    lora: loraSpecs(adapter),
    objective: "tokens",
    threads: 1,
  });
const file = openSafetensors(join(model, "reference/inputs.safetensors"));
const inputs = new Map(file.names.map((name) => [name, file.read(name)]));
file.close();

/** One example of a batch without its padding. */
function example(name: string, row: number, length: number): Tensor {
  const { shape, data } = inputs.get(name)!;
  const from = row * shape[1]!;
  return tensor("I64", [1, length], (data as BigInt64Array).slice(from, from + length));
}

describe("on a whole model", () => {
  test("gradients of examples one by one, unpadded, add up to those of the batch", async () => {
    const engine = await openTiny();
    const whole = await engine.step({ inputs, labels: inputs.get("labels")! }, adapter.tensors);
    const mask = inputs.get("attention_mask")!;
    const sums = new Map<string, Float32Array>();
    let lossSum = 0;
    for (let row = 0; row < mask.shape[0]!; row++) {
      const length = mask.shape[1]!;
      const real = Number(
        (mask.data as BigInt64Array).slice(row * length, (row + 1) * length).reduce((a, b) => a + b),
      );
      const names = ["input_ids", "attention_mask", "position_ids"];
      const own = tensorSet(names.map((name) => [name, example(name, row, real)] as const));
      const part = await engine.step({ inputs: own, labels: example("labels", row, real) }, adapter.tensors);
      lossSum += part.lossSum;
      for (const [name, { data }] of part.gradients) {
        const sum = sums.get(name) ?? new Float32Array(data.length);
        sums.set(
          name,
          sum.map((v, i) => v + (data[i] as number)),
        );
      }
    }
    expect(Math.abs(lossSum - whole.lossSum)).toBeLessThan(1e-3);
    for (const [name, { data }] of whole.gradients) {
      const scale = Math.max(...(data as Float32Array).map(Math.abs));
      const error = Math.max(...(data as Float32Array).map((v, i) => Math.abs(v - sums.get(name)![i]!)));
      // Sums of float32 in another order, over batches of another shape.
      expect(error / scale, name).toBeLessThan(1e-4);
    }
    await engine.close();
  });

  test("rows of the logits alone are those of all logits", async () => {
    const engine = await openTiny();
    const all = await engine.forward({ inputs }, adapter.tensors);
    const rows = [0, 5, 16, 20];
    const some = await engine.forward({ inputs }, adapter.tensors, rows);
    const width = all.shape.at(-1)!;
    rows.forEach((row, i) => {
      for (let column = 0; column < width; column++) {
        const [a, b] = [some.data[i * width + column] as number, all.data[row * width + column] as number];
        expect(Math.abs(a - b)).toBeLessThan(1e-4);
      }
    });
    await engine.close();
  });
});

test("of the logits that a decoder would leave out all are there: num_logits_to_keep is 0", async () => {
  const nodes: NodeProto[] = [
    gather,
    project,
    { opType: "Neg", name: "/keep/Neg", input: ["num_logits_to_keep"], output: ["negative"] },
    { opType: "Reshape", name: "/keep/Reshape", input: ["negative", "one"], output: ["start"] },
    {
      opType: "Slice",
      name: "/keep/Slice",
      input: ["p", "start", "end", "one"],
      output: ["y"],
    },
    head,
  ];
  const one: TensorProto = { name: "one", dataType: 7, dims: [1], int64Data: [1n] };
  const end: TensorProto = { name: "end", dataType: 7, dims: [1], int64Data: [2n ** 62n] };
  const file = graphFile(nodes, [...BASE, one, end], 18, [
    { name: "num_logits_to_keep", type: { tensorType: { elemType: 7, shape: { dim: [] } } } },
  ]);
  const engine = await openEngine({ file, lora, objective: "tokens", threads: 1 });
  expect(engine.inputs.map(({ name }) => name)).toEqual(["input_ids"]);
  const whole = await openWith([{ opType: "Identity", name: "/all/Identity", input: ["p"], output: ["y"] }]);
  const [kept, all] = [await engine.step(batch, factors()), await whole.step(batch, factors())];
  expect(kept.lossSum).toBe(all.lossSum);
  await engine.close();
  await whole.close();
});

describe("rows of a classifier's output [B, C]", () => {
  const pooled: NodeProto[] = [
    gather,
    {
      opType: "ReduceSum",
      name: "/pool/ReduceSum",
      input: ["x", "axis"],
      output: ["y"],
      attribute: [{ name: "keepdims", type: 2, i: 0 }],
    },
    head,
  ];
  const axis = { name: "axis", dataType: 7, dims: [1], int64Data: [1n] };

  // Of 2 asked rows 8 are computed (inputs.ts): more than a batch of 4 has, as many as one of 8, fewer than one of 24.
  test.each([4, 8, 24])("are those asked for, of %i examples", async (examples) => {
    const file = graphFile(pooled, [...BASE, axis]);
    const engine = await openEngine({ file, lora: [], objective: "none" });
    const rng = createRng("rows");
    const tokens = Array.from({ length: examples * 3 }, () => Math.floor(5 * rng.uniform()));
    const inputs = tensorSet([["input_ids", int64([examples, 3], tokens)]]);
    const all = await engine.forward({ inputs }, new Map());
    expect(all.shape).toEqual([examples, 4]);
    const rows = [examples - 1, 2];
    const some = await engine.forward({ inputs }, new Map(), rows);
    expect(some.shape).toEqual([2, 4]);
    const wanted = rows.flatMap((row) => [...all.data.slice(row * 4, row * 4 + 4)] as number[]);
    some.data.forEach((value, i) => {
      expect(value).toBeCloseTo(wanted[i]!, 5);
    });
    await engine.close();
  });
});

// Reads a sparse file through the runtime's mapping; a busy machine takes its time with the page tables.
test("weights beyond 2 GiB are read where they lie", { timeout: 120_000 }, async () => {
  const rows = 2 ** 19 + 1;
  const width = 1024;
  const tableBytes = rows * width * 4;
  const data = openSync(join(folder, "big.onnx_data"), "w");
  ftruncateSync(data, tableBytes + width * 4 * 4);
  // The last row of the table is ones; so is the first column of the head: its logits are [1024, 0, 0, 0] / 1024.
  writeSync(
    data,
    new Uint8Array(new Float32Array(width).fill(1).buffer),
    0,
    width * 4,
    (rows - 1) * width * 4,
  );
  const column = Float32Array.from({ length: width * 4 }, (_, i) => (i % 4 === 0 ? 1 / width : 0));
  writeSync(data, new Uint8Array(column.buffer), 0, column.byteLength, tableBytes);
  closeSync(data);
  const external = (name: string, dims: number[], offset: number): TensorProto => ({
    name,
    dataType: 1,
    dims,
    dataLocation: 1,
    externalData: [
      { key: "location", value: "big.onnx_data" },
      { key: "offset", value: String(offset) },
    ],
  });
  const nodes = [gather, { ...head, input: ["x", "head.weight"] }];
  const tables = [
    external("embed.weight", [rows, width], 0),
    external("head.weight", [width, 4], tableBytes),
  ];
  const engine = await openEngine({
    file: graphFile(nodes, tables),
    lora: [{ path: "model.head", rank: 1, scale: 1 }],
    objective: "tokens",
    threads: 1,
  });
  const zero = tensorSet([
    ["base_model.model.model.head.lora_A.weight", float32([1, width], new Float32Array(width))],
    ["base_model.model.model.head.lora_B.weight", float32([4, 1], new Float32Array(4))],
  ]);
  const last = tensorSet([["input_ids", int64([1, 2], [rows - 1, 0])]]);
  const result = await engine.step({ inputs: last, labels: int64([1, 2], [-100, 0]) }, zero);
  // softmax of [1, 0, 0, 0] at its first element: -ln(e / (e + 3))
  expect(result.lossSum).toBeCloseTo(-Math.log(Math.E / (Math.E + 3)), 5);
  await engine.close();
});
