/**
 * A trainer that costs nothing and still depends on everything a real one does: adapter, examples, seed,
 * options. Each step moves every tensor a tenth of the way to a target that the examples and the seed give.
 */
import { appendFileSync } from "node:fs";
import type { Adapter } from "../adapters/adapter.ts";
import { float32, type Tensor, type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { createRng } from "../base/rng.ts";
import type { Example } from "../data/example.ts";
import type { Trainer, TrainResult, TrainTask } from "../training/trainer.ts";

export const TOY_BASE = "7".repeat(64);

export interface ToyOptions {
  readonly baseHash?: string;
  /** Of the adapter it makes, see toyAdapter. */
  readonly width?: number;
  /** Optimizer steps of a task. */
  readonly steps?: number;
  /** Awaited before every step of the n-th training: a test holds the trainer there, or makes it fail. */
  readonly beforeStep?: (
    step: number,
    signal: AbortSignal | undefined,
    training: number,
  ) => Promise<void> | void;
  /** "begin SEED" and "end SEED" of every training are appended here: what the chaos tests count. */
  readonly ledger?: string;
}

/**
 * Two modules of different shapes: a mistake that is right for the first tensor shows in the second.
 *
 * @param width columns of the first tensor; 131,072 of them are 1 MiB
 */
export function toyAdapter(base = TOY_BASE, width = 6): Adapter {
  const rng = createRng("toy adapter");
  const random = (shape: readonly [number, number]): Tensor =>
    float32(
      shape,
      Float32Array.from({ length: shape[0] * shape[1] }, () => rng.uniform() - 0.5),
    );
  return {
    config: {
      base,
      rank: 2,
      alpha: 4,
      rslora: false,
      dropout: 0,
      targets: ["q_proj", "v_proj"],
      rankPattern: {},
      alphaPattern: {},
      modulesToSave: [],
    },
    tensors: tensorSet([
      ["base_model.model.layers.0.q_proj.lora_A.weight", random([2, width])],
      ["base_model.model.layers.0.q_proj.lora_B.weight", random([4, 2])],
      ["base_model.model.layers.1.v_proj.lora_A.weight", random([2, 3])],
      ["base_model.model.layers.1.v_proj.lora_B.weight", random([5, 2])],
    ]),
  };
}

export function createToyTrainer(options: ToyOptions = {}): Trainer {
  const steps = options.steps ?? 3;
  let training = 0;
  return {
    name: "toy",
    baseHash: options.baseHash ?? TOY_BASE,
    createAdapter: async () => toyAdapter(options.baseHash, options.width),
    async train(task, examples, { onProgress, signal }): Promise<TrainResult> {
      training++;
      const note = (word: string): void => {
        if (options.ledger !== undefined) appendFileSync(options.ledger, `${word} ${task.seed}\n`);
      };
      note("begin");
      const order = createRng(task.seed).shuffle(examples);
      let tensors = task.adapter.tensors;
      let lossFirst = Number.NaN;
      let loss = Number.NaN;
      for (let step = 1; step <= steps; step++) {
        await options.beforeStep?.(step, signal, training);
        signal?.throwIfAborted();
        const moved = move(tensors, order, task.seed, task.options.learning_rate);
        tensors = moved.tensors;
        loss = moved.loss;
        if (step === 1) lossFirst = loss;
        onProgress?.({ step, steps, epoch: 0, loss, learningRate: 0.1, tokensPerSecond: 0 });
      }
      note("end");
      return {
        adapter: { ...task.adapter, tensors },
        examples: examples.length,
        steps,
        tokens: examples.length * 4,
        touched: {
          text: examples.length,
          image: examples.filter(({ images }) => images.length > 0).length,
          audio: 0,
        },
        metrics: { loss, lossFirst, lossLast: loss, learningRateMean: 0.1 },
        extras: task.extras?.includes("optimizer")
          ? { optimizer: stepsSoFar(task.optimizerState, steps) }
          : {},
      };
    },
    async predict(_task, examples) {
      return examples.map(({ id, turns }) => ({ id, text: turns.at(-1)!.content }));
    },
    async close() {},
  };
}

/** The toy's whole optimizer state: how many steps it took. */
function stepsSoFar(before: TrainTask["optimizerState"], steps: number): TensorSet {
  const taken = (before?.get("steps")?.data[0] as number | undefined) ?? 0; // F32
  return tensorSet([["steps", float32([1], [taken + steps])]]);
}

function move(
  tensors: Adapter["tensors"],
  order: readonly Example[],
  seed: string,
  learningRate: number,
): { tensors: Adapter["tensors"]; loss: number } {
  const target = createRng(seed).fork("target", ...order.map(({ id }) => id));
  let sum = 0;
  let count = 0;
  const rate = Math.min(1, learningRate * 500); // the default learning rate makes a tenth
  const moved = [...tensors].map(([name, { shape, data }]): [string, Tensor] => {
    // A wide tensor repeats its targets: drawing each would take longer than what the tests are about.
    const rng = target.fork(name);
    const targets = Float64Array.from({ length: Math.min(data.length, 997) }, () => rng.normal());
    const next = (data as Float32Array).map((value, i) => {
      const away = targets[i % 997]! - value;
      sum += away * away;
      count++;
      return value + rate * away;
    });
    return [name, float32(shape, next)];
  });
  return { tensors: tensorSet(moved), loss: sum / count };
}

export function toyExamples(client: string, count: number): Example[] {
  return Array.from({ length: count }, (_, i) => ({
    id: `${client}-${i}`,
    turns: [
      { role: "user" as const, content: `What is ${i}?` },
      { role: "assistant" as const, content: `It is ${i}` },
    ],
    images: [],
    audios: [],
  }));
}
