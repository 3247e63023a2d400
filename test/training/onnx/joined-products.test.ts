/** LoRA beside a layer whose product the runtime's optimizer joined with a factor or an activation: as if they were apart. */
import { expect, onTestFinished, test } from "vitest";
import { float32, tensor, tensorSet } from "../../../adapters/tensor.ts";
import type { GraphFile } from "../../../training/onnx/engine.ts";
import { encodeModel } from "../../../training/onnx/format/codec.ts";
import type { AttributeProto, NodeProto } from "../../../training/onnx/format/schema.ts";
import { openEngine } from "../../../training/onnx/open.ts";

const wave = (length: number, step: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => Math.sin(step * i + 1));

/** ids -> embeddings x -> `nodes`, from x to y -> head */
function graph(nodes: readonly NodeProto[]): GraphFile {
  const weight = (name: string, dims: number[], values: Float32Array) => ({
    name,
    dataType: 1,
    dims,
    rawData: new Uint8Array(values.buffer),
  });
  const ids = { elemType: 7, shape: { dim: [{ dimParam: "batch" }, { dimParam: "length" }] } };
  const bytes = encodeModel({
    irVersion: 8,
    opsetImport: [
      { domain: "", version: 18 },
      { domain: "com.microsoft", version: 1 },
    ],
    graph: {
      name: "joined",
      node: [
        { opType: "Gather", name: "/embed/Gather", input: ["table", "input_ids"], output: ["x"] },
        ...nodes,
        { opType: "MatMul", name: "/head/MatMul", input: ["y", "head"], output: ["logits"] },
      ],
      initializer: [
        weight("table", [5, 3], wave(15, 2)),
        weight("proj", [3, 3], wave(9, 3)),
        weight("head", [3, 4], wave(12, 5)),
        weight("factor", [], Float32Array.of(0.3)),
      ],
      input: [{ name: "input_ids", type: { tensorType: ids } }],
      output: [{ name: "logits", type: { tensorType: { elemType: 1 } } }],
    },
  });
  return { name: "joined.onnx", bytes, folder: "", fileName: "joined.onnx", read: () => new Uint8Array() };
}

const int64 = (values: readonly number[]) =>
  tensor("I64", [1, values.length], BigInt64Array.from(values, BigInt));
const batch = {
  inputs: tensorSet([["input_ids", int64([0, 1, 2, 3, 4])]]),
  labels: int64([-100, 1, 2, 0, 3]),
};
const factors = tensorSet([
  ["base_model.model.model.proj.lora_A.weight", float32([2, 3], wave(6, 1.3))],
  ["base_model.model.model.proj.lora_B.weight", float32([3, 2], wave(6, 0.7))],
]);

async function step(nodes: readonly NodeProto[]) {
  const lora = [{ path: "model.proj", rank: 2, scale: 0.5 }];
  const engine = await openEngine({ file: graph(nodes), lora, objective: "tokens", threads: 1 });
  onTestFinished(() => engine.close());
  expect(engine.absent).toEqual([]);
  return engine.step(batch, factors);
}

const alpha: AttributeProto = { name: "alpha", type: 1, f: 0.3 };
const product: NodeProto = {
  opType: "MatMul",
  name: "/model/proj/MatMul",
  input: ["x", "proj"],
  output: ["p"],
};

test.each([
  {
    name: "a factor",
    joined: { ...product, opType: "FusedMatMul", domain: "com.microsoft", attribute: [alpha] },
    apart: [product, { opType: "Mul", name: "/Mul", input: ["p", "factor"], output: ["q"] }],
  },
  {
    name: "a Gemm's factor",
    joined: { ...product, opType: "Gemm", attribute: [alpha] },
    apart: [product, { opType: "Mul", name: "/Mul", input: ["p", "factor"], output: ["q"] }],
  },
])("$name", async ({ joined, apart }) => {
  const flat = (input: string, output: string, shape: string): NodeProto => ({
    opType: "Reshape",
    name: `/reshape/${output}`,
    input: [input, shape],
    output: [output],
  });
  const constants: NodeProto[] = [
    ["rows", [-1n, 3n]],
    ["whole", [1n, -1n, 3n]],
  ].map(([name, values]) => ({
    opType: "Constant",
    name: `/constant/${name as string}`,
    output: [name as string],
    attribute: [
      {
        name: "value",
        type: 4,
        t: { dataType: 7, dims: [(values as bigint[]).length], int64Data: values as bigint[] },
      },
    ],
  }));
  const fused = {
    ...joined,
    name: `${joined.name}/MatMulScaleFusion/`,
    input: ["x2", "proj"],
    output: ["q"],
  };
  const plain = apart.map((node) => ({ ...node, input: node.input!.map((i) => (i === "x" ? "x2" : i)) }));
  const around = (inner: readonly NodeProto[]) => [
    ...constants,
    flat("x", "x2", "rows"),
    ...inner,
    flat("q", "y", "whole"),
  ];
  const [got, wanted] = [await step(around([fused])), await step(around(plain))];
  expect(got.lossSum).toBeCloseTo(wanted.lossSum, 5);
  for (const [name, { data }] of wanted.gradients)
    data.forEach((value, i) => {
      expect(got.gradients.get(name)!.data[i], name).toBeCloseTo(value as number, 5);
    });
});

test("a transposition of what the layer reads", async () => {
  const turned = (output: string, perm: number[]): NodeProto => ({
    opType: "Transpose",
    name: `/turn/${output}`,
    input: ["x"],
    output: [output],
    attribute: [{ name: "perm", type: 7, ints: perm }],
  });
  const fused = (input: string, ...attribute: AttributeProto[]): NodeProto => ({
    ...product,
    opType: "FusedMatMul",
    domain: "com.microsoft",
    name: `${product.name}/MatmulTransposeFusion/`,
    input: [input, "proj"],
    output: ["y"],
    attribute,
  });
  const flag = (name: string): AttributeProto => ({ name, type: 2, i: 1 });
  const wanted = await step([{ ...product, output: ["y"] }]);
  // [1, 5, 3] is read as it was from [1, 3, 5], and from [5, 1, 3], whose first axis goes before the last.
  for (const nodes of [
    [turned("t", [0, 2, 1]), fused("t", flag("transA"))],
    [turned("t", [1, 0, 2]), fused("t", flag("transBatchA"))],
  ]) {
    const got = await step(nodes);
    expect(got.lossSum).toBeCloseTo(wanted.lossSum, 5);
    for (const [name, { data }] of wanted.gradients)
      data.forEach((value, i) => {
        expect(got.gradients.get(name)!.data[i], name).toBeCloseTo(value as number, 5);
      });
  }
});
