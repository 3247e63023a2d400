import { expect, test } from "vitest";
import { type GraphNode, int } from "../../../../training/onnx/graph.ts";
import { findModules } from "../../../../training/onnx/targets/find.ts";
import { weightOf } from "../../../../training/onnx/weight.ts";

/** A Gemm on a weight [out, in], which keeps the name that PyTorch has for it. */
const gemm = (name: string, x: string, weight: string): GraphNode => ({
  op: "Gemm",
  domain: "",
  name,
  inputs: [x, weight],
  outputs: [`${name}_output_0`],
  attributes: { transB: int(1) },
});

const pathsOf = (nodes: readonly GraphNode[]): readonly string[] =>
  findModules({
    nodes,
    inputs: [{ name: "pixel_values", type: "F32", shape: ["n", 4] }],
    outputs: [nodes.at(-1)!.outputs[0]!],
    weights: new Map(nodes.map(({ inputs }) => [inputs[1]!, weightOf("F32", [6, 4], new Float32Array(24))])),
    opsets: new Map([["", 18]]),
  }).map(({ path }) => path);

test("where the name of a node lost the layer, its weight tells it", () => {
  // As the exporter writes a forward that calls layer.attn.qkv itself, not the layer.
  const nodes = [0, 1].map((layer) =>
    gemm(layer === 0 ? "/qkv/Gemm" : "/qkv_1/Gemm", "pixel_values", `visual.blocks.${layer}.attn.qkv.weight`),
  );
  expect(pathsOf(nodes)).toEqual(["visual.blocks.0.attn.qkv", "visual.blocks.1.attn.qkv"]);
});

test("a node that has its path keeps it, whatever its weight is shared with", () => {
  expect(pathsOf([gemm("/lm_head/Gemm", "pixel_values", "model.embed_tokens.weight")])).toEqual(["lm_head"]);
  expect(pathsOf([gemm("/encoder/layer.1/ffn/Gemm", "pixel_values", "encoder.layer.0.ffn.weight")])).toEqual([
    "encoder.layer.1.ffn",
  ]);
});
