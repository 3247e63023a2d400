import { describe, expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { ManualClock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { trainingOptions } from "../../config/training.ts";
import type { Learner } from "../../training/learner.ts";
import { trainAlone, training } from "../../training/loop.ts";
import type { TrainControl, TrainTask } from "../../training/trainer.ts";
import { adapter, learner, type Pull, pull, V, W } from "./pull-learner.ts";

const train = (
  rows: readonly Pull[],
  options: object,
  more: Partial<TrainTask> = {},
  control: TrainControl = {},
  by: Learner<Pull> = learner,
) =>
  trainAlone(
    training(
      { adapter, options: trainingOptions.parse({ optim: "sgd", ...options }), seed: "s", ...more },
      rows,
      by,
      new ManualClock(),
      control,
    ),
    by,
  );

const values = (set: TensorSet) => [W, V].map((name) => [...(set.get(name)!.data as Float32Array)]);

test("a step follows the mean over all labels of the accumulated batch, however it is cut", async () => {
  const rows = [pull("a", 1, 1), pull("b", 5, 3)];
  const cut = { learning_rate: 0.5, max_grad_norm: 0, max_steps: 1 };
  const one = await train(rows, { ...cut, per_device_train_batch_size: 2 });
  const two = await train(rows, { ...cut, per_device_train_batch_size: 1, gradient_accumulation_steps: 2 });
  // mean target (1·1 + 3·5) / 4 = 4 ; w - 0.5 (w - 4)
  expect(values(one.adapter.tensors)).toEqual([
    [2, 2.5],
    [3, 3.5],
  ]);
  expect(values(two.adapter.tensors)).toEqual(values(one.adapter.tensors));
});

test("the adapter handed out is not changed", async () => {
  const before = values(adapter.tensors);
  await train([pull("a", 9)], { learning_rate: 0.1 });
  expect(values(adapter.tensors)).toEqual(before);
});

test("counts examples, labels, modalities and means", async () => {
  const rows = [pull("a", 1, 2), pull("b", -1, 3), pull("c", 1, 1)];
  const result = await train(rows, {
    learning_rate: 1e-9,
    per_device_train_batch_size: 1,
    num_train_epochs: 2,
    lr_scheduler_type: "linear",
  });
  expect(result.examples).toBe(3);
  expect(result.steps).toBe(6);
  expect(result.tokens).toBe(12);
  expect(result.touched).toEqual({ text: 3, image: 1, audio: 0 });
  // linear over 6 steps: mean of (6 + 5 + 4 + 3 + 2 + 1) / 6
  expect(result.metrics.learningRateMean).toBeCloseTo(1e-9 * (21 / 36), 20);
  // weights hardly move: labels 3 pull to 1 (½(1 + 0 + 1 + 4) = 3), labels 3 pull to -1 (½(1 + 4 + 9 + 16) = 15)
  expect(result.metrics.loss).toBeCloseTo((3 * 3 + 3 * 15) / 6, 5);
});

test("examples that no step reaches are not counted", async () => {
  const rows = Array.from({ length: 10 }, (_, i) => pull(`e${i}`, 1));
  const result = await train(rows, { max_steps: 2, per_device_train_batch_size: 3 });
  expect(result.examples).toBe(6);
});

test("a frozen tensor keeps its bits, the others move", async () => {
  const result = await train([pull("a", 9)], { optim: "adamw", weight_decay: 0.5 }, { frozen: "lora_A" });
  expect(result.adapter.tensors.get(W)).toEqual(adapter.tensors.get(W));
  expect(result.adapter.tensors.get(V)).not.toEqual(adapter.tensors.get(V));
});

test("a tensor that no example reaches keeps its bits under weight decay", async () => {
  const blind: Learner<Pull> = {
    ...learner,
    async gradients(rows, parameters) {
      const all = await learner.gradients(rows, parameters);
      return { ...all, gradients: new Map([...all.gradients].filter(([name]) => name === V)) };
    },
  };
  const result = await train([pull("a", 9)], { optim: "adamw", weight_decay: 0.5 }, {}, {}, blind);
  expect(result.adapter.tensors.get(W)).toEqual(adapter.tensors.get(W));
});

test("equal seeds give equal bits, other seeds another order", async () => {
  const rows = Array.from({ length: 8 }, (_, i) => pull(`e${i}`, i));
  const options = { learning_rate: 0.3, per_device_train_batch_size: 1, optim: "adamw" };
  const [a, b, c] = await Promise.all([
    train(rows, options),
    train(rows, options),
    train(rows, options, { seed: "t" }),
  ]);
  expect(a).toEqual(b);
  expect(values(c.adapter.tensors)).not.toEqual(values(a.adapter.tensors));
});

test("the optimizer's state carries over from one task to the next", async () => {
  const rows = [pull("a", 9)];
  const options = { learning_rate: 0.1, optim: "adamw", num_train_epochs: 2 };
  const whole = await train(rows, { ...options, num_train_epochs: 4 });
  const first = await train(rows, options, { extras: ["optimizer"] });
  const second = await train(rows, options, {
    adapter: first.adapter,
    optimizerState: first.extras.optimizer!,
  });
  expect(values(second.adapter.tensors)).toEqual(values(whole.adapter.tensors));
});

test("lossBefore is the loss of the adapter handed out over all examples", async () => {
  const result = await train([pull("a", 1), pull("b", 2)], {}, { measure: ["lossBefore"] });
  // towards 1: ½(1 + 0 + 1 + 4) = 3 ; towards 2: ½(4 + 1 + 0 + 1) = 3
  expect(result.metrics.lossBefore).toBe(3);
});

test("fisher is the mean of squared gradients of an example's mean loss at the final weights", async () => {
  const result = await train(
    [pull("a", 0, 5), pull("b", 2)],
    { learning_rate: 1e-30, max_steps: 1 },
    { extras: ["fisher"], frozen: "lora_A" },
  );
  // v = (2, 3): ((2 - 0)² + (2 - 2)²) / 2 = 2 ; ((3 - 0)² + (3 - 2)²) / 2 = 5
  expect([...(result.extras.fisher!.get(V)!.data as Float32Array)]).toEqual([2, 5]);
  expect(result.extras.fisher!.has(W)).toBe(false);
});

describe("when it cannot go on", () => {
  test("no examples are refused", async () => {
    await expect(train([], {})).rejects.toMatchObject({
      code: "F2135",
      message: "Cannot train: the task has no examples",
    });
  });

  test("an abort ends the task before its next step and hands out what was reached", async () => {
    const abort = new AbortController();
    const partial: { adapter: Adapter; step: number }[] = [];
    const control: TrainControl = {
      signal: abort.signal,
      onProgress: ({ step }) => step === 2 && abort.abort(),
      onPartial: (reached, step) => partial.push({ adapter: reached, step }),
    };
    const running = train([pull("a", 9)], { max_steps: 5, learning_rate: 0.1 }, {}, control);
    await expect(running).rejects.toMatchObject({
      code: "F2136",
      message: "Training was stopped before its end",
    });
    const twoSteps = await train([pull("a", 9)], { max_steps: 2, learning_rate: 0.1 });
    expect(partial.map(({ step }) => step)).toEqual([2]);
    expect(values(partial[0]!.adapter.tensors)).toEqual(values(twoSteps.adapter.tensors));
  });

  test.each([
    ["a loss that is NaN", { lossSum: Number.NaN, factor: 1 }],
    ["an infinite gradient", { lossSum: 1, factor: Number.POSITIVE_INFINITY }],
  ])("%s names the step and its examples, and keeps the adapter before it", async (_, broken) => {
    let calls = 0;
    const breaks: Learner<Pull> = {
      ...learner,
      async gradients(rows, parameters) {
        const good = await learner.gradients(rows, parameters);
        if (++calls < 3) return good;
        const bad = [...good.gradients].map(
          ([name, t]) =>
            [
              name,
              float32(
                t.shape,
                [...(t.data as Float32Array)].map((g) => g * broken.factor),
              ),
            ] as const,
        );
        return { lossSum: broken.lossSum, labels: good.labels, gradients: tensorSet(bad) };
      },
    };
    const partial: { adapter: Adapter; step: number }[] = [];
    const error = await train(
      [pull("a", 9)],
      { max_steps: 5, learning_rate: 0.1 },
      {},
      { onPartial: (reached, step) => partial.push({ adapter: reached, step }) },
      breaks,
    ).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FedloomError);
    expect(error).toMatchObject({ code: "F2137", details: { step: 3, steps: 5 } });
    expect((error as FedloomError).message).toMatch(/^Cannot take step 3 of 5 \(examples "a"\): the loss is/);
    const twoSteps = await train([pull("a", 9)], { max_steps: 2, learning_rate: 0.1 });
    expect(values(partial[0]!.adapter.tensors)).toEqual(values(twoSteps.adapter.tensors));
  });
});
