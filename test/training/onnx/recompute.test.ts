/** Less memory, the same step: activations computed again, and logits in groups of rows. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { float32, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { compile, gradientName, NAMES } from "../../../training/onnx/compile.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import type { EngineOptions, StepResult } from "../../../training/onnx/engine.ts";
import type { Graph, GraphNode } from "../../../training/onnx/graph.ts";
import { openEngine } from "../../../training/onnx/open.ts";
import { weightOf } from "../../../training/onnx/weight.ts";
import { resultsOf } from "./rule-check.ts";

const MODEL = join(import.meta.dirname, "../../../assets/models/smolvlm-tiny/onnx/decoder_model_merged.onnx");

/** Operations are the same, but their order among equal summands may not be. */
const SAME = 1e-6;

async function stepped(
  more: Partial<EngineOptions>,
): Promise<StepResult & { readonly activationBytes: number }> {
  const layers = [0, 1];
  const lora = layers.flatMap((layer) =>
    ["self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj"].map((role) => ({
      path: `model.text_model.layers.${layer}.${role}`,
      rank: 2,
      scale: 2,
    })),
  );
  const engine = await openEngine({
    file: openGraphFile(MODEL),
    lora,
    objective: "tokens",
    threads: 1,
    ...more,
  });
  const rng = createRng("recompute");
  const normal = (size: number) => Float32Array.from({ length: size }, () => rng.normal() * 0.3);
  const width = engine.inputs.find(({ name }) => name === "inputs_embeds")!.shape[2] as number;
  const inputs = tensorSet([["inputs_embeds", float32([2, 24, width], normal(2 * 24 * width))]]);
  const labels = tensor(
    "I64",
    [2, 24],
    BigInt64Array.from({ length: 48 }, (_, i) => BigInt(i % 5 === 0 ? i : -100)),
  );
  const parameters = tensorSet(
    engine.parameters.map(({ name, shape }) => [name, float32(shape, normal(shape[0]! * shape[1]!))]),
  );
  const batch = { inputs, labels, seed: "mask" };
  const { activationBytes } = await engine.estimate(batch);
  const result = await engine.step(batch, parameters);
  await engine.close();
  return { ...result, activationBytes };
}

describe("activations computed again", () => {
  test.each(
    [
      { name: "LoRA", more: {} },
      { name: "LoRA with dropout", more: { dropout: 0.3 } },
      { name: "the gradient of the embeddings", more: { inputGradients: ["inputs_embeds"] } },
    ].flatMap((one) => ([true, "cheap"] as const).map((recompute) => ({ ...one, recompute }))),
  )("give the gradients of a step that keeps them: $name, $recompute", async ({ more, recompute }) => {
    const kept = await stepped(more);
    const again = await stepped({ ...more, recompute });
    expect(again.lossSum).toBe(kept.lossSum);
    expect([...again.gradients.keys()]).toEqual([...kept.gradients.keys()]);
    for (const [name, { data }] of [...kept.gradients, ...kept.inputGradients]) {
      const other = (again.gradients.get(name) ?? again.inputGradients.get(name)!).data as Float32Array;
      const largest = (data as Float32Array).reduce((max, v) => Math.max(max, Math.abs(v)), 0);
      const difference = (data as Float32Array).reduce(
        (max, v, i) => Math.max(max, Math.abs(v - other[i]!)),
        0,
      );
      expect(largest).toBeGreaterThan(0);
      expect(difference / largest, name).toBeLessThan(SAME);
    }
    // With dropout the masked rows that LoRA reads are kept beside the normalized ones, and weigh more than those.
    const spares = recompute === true || !("dropout" in more);
    expect(again.activationBytes < kept.activationBytes).toBe(spares);
  });
});

/** x [1, 256, 3] times a weight onto 40,000 words; with a bias the product is not the last operation. */
async function headStep(bias: boolean) {
  const words = 40_000;
  const rng = createRng("head");
  const normal = (size: number) => Float32Array.from({ length: size }, () => rng.normal());
  const node = (op: string, inputs: string[], output: string): GraphNode => ({
    op,
    domain: "",
    name: op,
    inputs,
    outputs: [output],
    attributes: {},
  });
  const added = new Float32Array(words);
  added[0] = 1e-30; // too small to change a logit, enough that the sum is not left out
  const graph: Graph = {
    nodes: [node("MatMul", ["x", "w"], "y"), ...(bias ? [node("Add", ["y", "b"], "z")] : [])],
    inputs: [{ name: "x", type: "F32", shape: [1, 256, 3] }],
    outputs: [bias ? "z" : "y"],
    weights: new Map([
      ["w", weightOf("F32", [3, words], normal(3 * words))],
      ["b", weightOf("F32", [words], added)],
    ]),
    opsets: new Map([["", 18]]),
  };
  const inputs = tensorSet([["x", float32([1, 256, 3], normal(768))]]);
  const program = compile(
    graph,
    { kind: "loss", output: graph.outputs[0]!, wanted: ["x"] },
    inputs,
    new Map(),
  );
  const labels = tensor(
    "I64",
    [256, 1],
    BigInt64Array.from({ length: 256 }, (_, i) => BigInt((i * 997) % words)),
  );
  const weights = float32(
    [256, 1],
    Float32Array.from({ length: 256 }, (_, i) => (i % 3 === 0 ? 0 : 1)),
  );
  const given = tensorSet([...inputs, [NAMES.labels, labels], [NAMES.weights, weights]]);
  const results = await resultsOf(program, given);
  const largest = Math.max(
    ...program.operations.flatMap(({ outputs }) =>
      outputs.map(({ shape }) => shape.reduce((n, dim) => n * dim, 1)),
    ),
  );
  return {
    largest,
    loss: results.get(NAMES.loss)!.data[0] as number,
    dx: results.get(gradientName("x"))!.data as Float32Array,
  };
}

test("logits of many rows are never there at once, and the loss is the same", async () => {
  const [groups, whole] = [await headStep(false), await headStep(true)];
  expect(whole.largest).toBe(256 * 40_000);
  expect(groups.largest).toBe(128 * 40_000);
  expect(Math.abs(groups.loss / whole.loss - 1)).toBeLessThan(SAME);
  const largest = whole.dx.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
  const difference = whole.dx.reduce((max, v, i) => Math.max(max, Math.abs(v - groups.dx[i]!)), 0);
  expect(difference / largest).toBeLessThan(1e-5); // sums over 40,000 words in another order
});
