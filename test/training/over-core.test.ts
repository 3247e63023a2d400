import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { foldCore, withoutCore } from "../../adapters/core.ts";
import { decodeAdapter, encodeAdapter } from "../../adapters/peft.ts";
import { float32, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { createRng } from "../../base/rng.ts";
import { trainingOptions } from "../../config/training.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import { overCore } from "../../training/over-core.ts";
import { throughView } from "../../training/view.ts";

const B = "base_model.model.layers.0.q_proj.lora_B.weight";
const A = "base_model.model.layers.0.q_proj.lora_A.weight";
const R = "base_model.model.layers.0.q_proj.lora_R.weight";

test("folding puts B·R in B's place and leaves the rest", () => {
  const tensors = tensorSet([
    [A, float32([2, 3], [1, 2, 3, 4, 5, 6])],
    [B, float32([3, 2], [1, 0, 0, 1, 1, 1])],
    [R, float32([2, 2], [1, 2, 3, 4])],
  ]);
  const folded = foldCore(tensors);
  expect([...folded.keys()]).toEqual([A, B]);
  // Rows of B times R: [1 2], [3 4], [4 6].
  expect([...folded.get(B)!.data]).toEqual([1, 2, 3, 4, 4, 6]);
  expect(folded.get(A)).toBe(tensors.get(A));
});

test("the core's gradient agrees with central differences of a loss of the folded factor", async () => {
  const rng = createRng("core");
  const random = (rows: number, cols: number) =>
    float32(
      [rows, cols],
      Float32Array.from({ length: rows * cols }, () => rng.normal()),
    );
  const tensors = tensorSet([
    [A, random(3, 5)],
    [B, random(7, 3)],
    [R, random(3, 3)],
  ]);
  const direction = random(7, 3);
  // loss = <G, B'> + 1/2 |B'|², so dB' = G + B'
  const lossOf = (parameters: TensorSet): number => {
    const folded = parameters.get(B)!.data as Float32Array;
    return folded.reduce((sum, value, i) => sum + value * Number(direction.data[i]) + (value * value) / 2, 0);
  };
  const learner = throughView(
    {
      trainable: new Set([A, B]),
      gradients: async (_, parameters) => {
        const folded = parameters.get(B)!;
        const gradient = Float32Array.from(
          folded.data as Float32Array,
          (value, i) => value + Number(direction.data[i]),
        );
        return {
          lossSum: lossOf(parameters),
          labels: 1,
          gradients: tensorSet([[B, float32([7, 3], gradient)]]),
        };
      },
      losses: async (_, parameters) => ({ lossSum: lossOf(parameters), labels: 1 }),
    },
    overCore(tensors),
  );
  expect([...learner.trainable]).toEqual([R]);
  const { gradients } = await learner.gradients([], tensors);
  const nudged = async (index: number, by: number): Promise<number> => {
    const core = Float32Array.from(tensors.get(R)!.data as Float32Array);
    core[index]! += by;
    return (await learner.losses([], new Map(tensors).set(R, float32([3, 3], core)))).lossSum;
  };
  for (let i = 0; i < 9; i++) {
    const step = 1e-2;
    const numeric = ((await nudged(i, step)) - (await nudged(i, -step))) / (2 * step);
    // The loss is quadratic in R, so only float32 rounding of B' is left: 1e-3 of values of order 10.
    expect(Math.abs(Number(gradients.get(R)!.data[i]) - numeric)).toBeLessThan(1e-2);
  }
});

test("training moves the core alone, and what it says is what the folded adapter says", async () => {
  const trainer = await openOnnxTrainer({
    model: join(import.meta.dirname, "../golden/models/smolvlm-tiny"),
    threads: 1,
  });
  onTestFinished(() => trainer.close());
  const adapter = await trainer.createAdapter(
    {
      rank: 4,
      alpha: 8,
      rslora: false,
      dropout: 0,
      targets: ["q_proj", "v_proj"],
      rankPattern: {},
      alphaPattern: {},
      modulesToSave: [],
      core: true,
    },
    "seed",
  );
  const example = {
    id: "1",
    turns: [
      { role: "user", content: "Say red." },
      { role: "assistant", content: "red" },
    ],
    images: [],
    audios: [],
  } as const;
  const options = trainingOptions.parse({
    learning_rate: 2e-2,
    max_steps: 6,
    per_device_train_batch_size: 1,
  });
  const result = await trainer.train({ adapter, options, seed: "s" }, [example], {});
  expect(result.metrics.lossLast).toBeLessThan(result.metrics.lossFirst);
  for (const [name, { data }] of adapter.tensors) {
    const after = result.adapter.tensors.get(name)!.data;
    if (name.includes("lora_R")) expect(after).not.toEqual(data);
    else expect(after).toEqual(data);
  }
  // The wire's files keep the core; folded, the adapter is an ordinary one with the same answers.
  const read = decodeAdapter(encodeAdapter(result.adapter), "test");
  expect([...read.tensors.keys()]).toEqual([...result.adapter.tensors.keys()]);
  const ask = { maxNewTokens: 1, batchSize: 1, loss: true } as const;
  const [own] = await trainer.predict({ ...ask, adapter: result.adapter }, [example], {});
  const [folded] = await trainer.predict({ ...ask, adapter: withoutCore(result.adapter) }, [example], {});
  expect(own!.loss).toBe(folded!.loss);
}, 120_000);
