/**
 * What every runtime must give for a reference model: PyTorch's loss, logits and gradients, and its ten AdamW steps.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scaleOf } from "../../adapters/adapter.ts";
import { readPeft } from "../../adapters/peft.ts";
import { openSafetensors } from "../../adapters/safetensors.ts";
import type { Tensor, TensorSet } from "../../adapters/tensor.ts";
import { factorPairs, parseName } from "../../adapters/tensor-names.ts";
import { trainingOptions } from "../../config/training.ts";
import { type Composite, openComposite } from "../../training/onnx/composite.ts";
import { openGraphFile } from "../../training/onnx/edge/files.ts";
import type { Runtime } from "../../training/onnx/runtime.ts";
import { createOptimizer } from "../../training/optimizers.ts";
import type { ModelCase } from "./models-directory.ts";

// The tolerances of the reference's README. Between runtime and PyTorch 1e-6 to 1e-5 was seen.
const LOGITS = 1e-4;
const LOSS = 1e-4;
/** Times the largest absolute value of the gradient tensor. */
const GRADIENT = 1e-4;
/** One Adam step moves a weight by up to 1e-3; a gradient element near 0 may flip. */
const WEIGHT = 1e-4;

export interface ModelContract {
  /** onnxruntime where absent. */
  readonly runtime?: Runtime;
  /** Also the ten steps, which cost as much as everything else together. */
  readonly steps: boolean;
}

export function modelContract(cases: readonly ModelCase[], { runtime, steps }: ModelContract): void {
describe.each(cases)("$name", (wanted) => {
  const adapter = readPeft(join(wanted.adapter, "adapter"));
  const inputs = tensorsIn(join(wanted.reference, "inputs.safetensors"));
  const labels = inputs.get("labels")!;
  const grads = tensorsIn(join(wanted.adapter, "grads.safetensors"));
  let model: Composite;
  beforeAll(async () => {
    model = await openModel(wanted, adapter, runtime);
  });
  afterAll(() => model.close());

  test("loss and every gradient", async () => {
    const result = await model.step({ inputs, labels }, adapter.tensors);
    expect(Math.abs(result.lossSum / result.labels - wanted.expected.loss)).toBeLessThanOrEqual(LOSS);
    for (const [name, expected] of grads) {
      const got = result.gradients.get(name) ?? result.inputGradients.get(name);
      expect(got, name).toBeDefined();
      const scale = largest(expected.data as Float32Array);
      const mean = (got!.data as Float32Array).map((v) => v / result.labels);
      expect(farthest(mean, expected.data as Float32Array), name).toBeLessThanOrEqual(GRADIENT * scale);
    }
    const trained = [...grads.keys()].filter((name) => name !== "inputs_embeds");
    expect([...result.gradients.keys()].sort()).toEqual(trained.sort());
  });

  test("logits where a label is predicted", async () => {
    const forward = tensorsIn(join(wanted.adapter, "forward.safetensors"));
    const positions = forward.get("label_positions")?.data as BigInt64Array | undefined;
    const length = labels.shape[1] ?? 1;
    const rows =
      positions &&
      Array.from({ length: positions.length / 2 }, (_, i) => Number(positions[2 * i]) * length + Number(positions[2 * i + 1]));
    const got = await model.forward({ inputs }, adapter.tensors, rows);
    const expected = forward.get("label_logits") ?? forward.get("logits")!;
    expect(farthest(got.data as Float32Array, expected.data as Float32Array)).toBeLessThanOrEqual(LOGITS);
  });

  if (steps)
    test("ten AdamW steps", async () => {
    const { lr, weight_decay, steps } = wanted.expected.optimizer;
    const parameters = [...adapter.tensors].map(([name, { shape, data }]) => ({
      name,
      shape,
      data: Float32Array.from(data as Float32Array),
    }));
    const options = trainingOptions.parse({ learning_rate: lr, weight_decay, optim: "adamw" });
    const optimizer = createOptimizer(options, parameters);
    const current: TensorSet = new Map(
      parameters.map(({ name, shape, data }): [string, Tensor] => [name, { dtype: "F32", shape, data }]),
    );
    for (let step = 0; step <= steps; step++) {
      const { lossSum, labels: count, gradients } = await model.step({ inputs, labels }, current);
      const expected = wanted.expected.losses[step] ?? wanted.expected.loss_after_last_step;
      expect(Math.abs(lossSum / count - expected), `before step ${step}`).toBeLessThanOrEqual(LOSS);
      if (step === steps) break;
      const means = [...gradients].map(([name, { data }]) => [name, (data as Float32Array).map((v) => v / count)] as const);
      optimizer.step(new Map(means), lr);
    }
    const final = readPeft(join(wanted.adapter, "final")).tensors;
    for (const { name, data } of parameters)
      expect(farthest(data, final.get(name)!.data as Float32Array), name).toBeLessThanOrEqual(WEIGHT);
  });
});

}

export function openModel(wanted: ModelCase, adapter: ReturnType<typeof readPeft>, runtime: Runtime | undefined): Promise<Composite> {
  const lora = factorPairs(adapter.tensors.keys()).map(({ module, a }) => ({
    path: module,
    rank: adapter.tensors.get(a)!.shape[0]!,
    scale: scaleOf(adapter.config, module),
  }));
  const saved = [...adapter.tensors.keys()].flatMap((name) => {
    const parsed = parseName(name);
    return parsed?.part === "weight" ? [parsed.module] : [];
  });
  return openComposite({
    decoder: openGraphFile(wanted.decoder),
    embed: wanted.embed === undefined ? undefined : openGraphFile(wanted.embed),
    encoders: wanted.encoders.map(({ file, tokenId }) => ({ file: openGraphFile(file), tokenId })),
    addedNorms: wanted.addedNorms,
    lora,
    saved,
    objective: wanted.objective,
    inputGradients: wanted.objective === "tokens" ? ["inputs_embeds"] : [],
    threads: 1,
    ...(runtime && { runtime }),
  });
}

export function tensorsIn(path: string): TensorSet {
  const file = openSafetensors(path);
  const tensors = new Map(file.names.map((name) => [name, file.read(name)]));
  file.close();
  return tensors;
}

const largest = (values: Float32Array): number => values.reduce((max, v) => Math.max(max, Math.abs(v)), 0);

/** Largest absolute difference; not a number where either is none. */
function farthest(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) throw new Error(`${a.length} values, ${b.length} wanted`);
  return a.reduce((max, v, i) => Math.max(max, Math.abs(v - b[i]!)), 0);
}
