/**
 * One stage of pretraining: batches in, weights moved, checkpoints out. What a step draws depends on its number
 * alone, so a course that was cut off goes on as if it had not been.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { float32, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { createRng, type Rng } from "../../base/rng.ts";
import type { TrainingOptions } from "../../config/training.ts";
import { openGraphFile } from "../../training/onnx/edge/files.ts";
import type { Batch, Engine, EngineOptions } from "../../training/onnx/engine.ts";
import { openEngine } from "../../training/onnx/open.ts";
import { clipGradients, createOptimizer } from "../../training/optimizers.ts";
import { learningRateAt } from "../../training/schedule.ts";

/** In their order. */
export const STAGES = ["alignment", "lessons", "practice"] as const;
export type Stage = (typeof STAGES)[number];

export interface PretrainProgress {
  readonly stage: Stage;
  readonly step: number;
  readonly steps: number;
  /** Mean loss of the step's labels, in nats. */
  readonly loss: number;
  /** Positions that went through the model in this step, padding not counted. */
  readonly tokens: number;
}

/** All that a later process needs to go on: weights, optimizer state, and how far it is. */
export interface Checkpoint {
  readonly stage: Stage;
  readonly step: number;
  readonly weights: TensorSet;
  readonly optimizer: TensorSet;
}

export interface PretrainControl {
  readonly onStep: (progress: PretrainProgress) => void;
  /** Called every `saveEvery` steps and at the end of each stage. */
  readonly save: (checkpoint: Checkpoint) => void;
  readonly saveEvery: number;
}

export interface Course {
  readonly stage: Stage;
  readonly steps: number;
  readonly settings: TrainingOptions;
  /** Names of the weights that move. */
  readonly trained: readonly string[];
  readonly seed: string;
  draw(step: number, rng: Rng): Promise<Batch & { readonly tokens: number }>;
}

/** Of the shapes that come up, those kept open: each session holds on to about 150 MB of activations. */
const MAX_SESSIONS = 24;

/** A graph written into `folder`, opened for training or inference. */
export function openWritten(
  folder: string,
  name: string,
  graph: Uint8Array,
  options: Pick<EngineOptions, "objective" | "trainable" | "threads">,
): Promise<Engine> {
  const path = join(folder, `${name}.onnx`);
  writeFileSync(path, graph);
  return openEngine({ file: openGraphFile(path), lora: [], maxSessions: MAX_SESSIONS, ...options });
}

/** @returns the weights after the last step */
export async function runCourse(
  course: Course,
  engine: Engine,
  from: Checkpoint,
  control: PretrainControl,
): Promise<TensorSet> {
  const weights = copied(from.weights);
  const parameters = course.trained.map((name) => {
    const { shape, data } = weights.get(name)!;
    return { name, shape, data: data as Float32Array }; // F32, as weights.ts makes them
  });
  const taught = tensorSet(parameters.map(({ name, shape, data }) => [name, float32(shape, data)]));
  const optimizer = createOptimizer(course.settings, parameters, from.optimizer);
  const checkpoint = (step: number): Checkpoint => ({
    stage: course.stage,
    step,
    weights: copied(weights),
    optimizer: optimizer.save(),
  });
  for (let step = from.step; step < course.steps; step++) {
    const batch = await course.draw(step, createRng(course.seed).fork(course.stage, step));
    const { gradients, labels, lossSum } = await engine.step(batch, taught);
    const mean = new Map(
      [...gradients].map(([name, { data }]) => [name, divided(data as Float32Array, labels)]),
    );
    clipGradients(mean, course.settings.max_grad_norm);
    optimizer.step(mean, learningRateAt(course.settings, step, course.steps));
    const { stage, steps } = course;
    control.onStep({ stage, step: step + 1, steps, loss: lossSum / labels, tokens: batch.tokens });
    if ((step + 1) % control.saveEvery === 0) control.save(checkpoint(step + 1));
  }
  const last = checkpoint(course.steps);
  control.save(last);
  return last.weights;
}

/** A loop, since Float32Array.from with a function costs a third of a step. */
function divided(data: Float32Array, by: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = data[i]! / by;
  return out;
}

function copied(weights: TensorSet): TensorSet {
  return tensorSet(
    [...weights].map(([name, { shape, data }]) => [name, float32(shape, (data as Float32Array).slice())]),
  );
}
