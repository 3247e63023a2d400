/**
 * Trains fedloom-nano from nothing, with this project's own engine: first the picture's side alone; then, with
 * that frozen, everything else on lessons; then the same once more, with a fresh learning rate, on what was hard.
 */
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { createRng, type Rng } from "../../base/rng.ts";
import { trainingOptions } from "../../config/training.ts";
import { ALIGNMENT_GROUPS, alignmentConstants, alignmentLabels, drawPictures } from "./alignment.ts";
import { NANO } from "./architecture.ts";
import { type Codec, type EncodedLesson, encodeLesson, languageBatch, pixelValues } from "./batch.ts";
import {
  type Checkpoint,
  type Course,
  openWritten,
  type PretrainControl,
  runCourse,
  type Stage,
} from "./course.ts";
import { drawLesson, drawPractice } from "./curriculum.ts";
import { alignmentGraph, languageGraph, visionTowerGraph } from "./graphs.ts";
import type { Lesson } from "./lesson.ts";
import { initialWeights, isVision } from "./weights.ts";

export interface PretrainOptions {
  readonly seed: string;
  readonly alignmentSteps: number;
  readonly lessonSteps: number;
  readonly practiceSteps: number;
  readonly codec: Codec;
  readonly vocabulary: number;
  /** Where the graphs of pretraining are written. */
  readonly folder: string;
  readonly threads: number;
}

const IMAGES_PER_ALIGNMENT = 64;
const LESSONS_PER_BATCH = 16;
/** Batches drawn together and sorted by length, so that short lessons do not wait in the padding of long ones. */
const BATCHES_PER_DRAW = 8;

const shared = {
  adam_beta2: 0.98,
  weight_decay: 0.05,
  max_grad_norm: 1,
  warmup_steps: 100,
  lr_scheduler_type: "cosine",
} as const;
const ALIGNMENT = trainingOptions.parse({ ...shared, learning_rate: 1.5e-3 });
const LESSONS = trainingOptions.parse({ ...shared, learning_rate: 2e-3 });
const PRACTICE = trainingOptions.parse({ ...shared, learning_rate: 1.5e-3 });

/** @param from where an earlier process was; the beginning, if absent */
export async function pretrain(
  options: PretrainOptions,
  control: PretrainControl,
  from?: Checkpoint,
): Promise<TensorSet> {
  const start: Checkpoint = from ?? {
    stage: "alignment",
    step: 0,
    weights: initialWeights(options.vocabulary, createRng(options.seed).fork("weights")),
    optimizer: new Map(),
  };
  let at = start;
  const next = (stage: Stage, weights: TensorSet): Checkpoint => ({
    stage,
    step: 0,
    weights,
    optimizer: new Map(),
  });
  if (at.stage === "alignment") at = next("lessons", await alignment(options, control, at));
  if (at.stage === "lessons")
    at = next("practice", await lessons(lessonCourse(options), options, control, at));
  return lessons(practiceCourse(options), options, control, at);
}

/** What the two stages of lessons differ in. */
interface LessonCourse extends Pick<Course, "stage" | "steps" | "settings"> {
  draw(step: number): EncodedLesson[];
}

function lessonCourse({ seed, lessonSteps: steps, codec }: PretrainOptions): LessonCourse {
  const draw = (step: number): EncodedLesson[] =>
    drawBatch(step, createRng(seed), codec, (first, rng) => drawLesson(first / steps, rng).lesson);
  return { stage: "lessons", steps, settings: LESSONS, draw };
}

function practiceCourse({ seed, practiceSteps: steps, codec }: PretrainOptions): LessonCourse {
  const draw = (step: number): EncodedLesson[] =>
    drawBatch(step, createRng(seed).fork("practice"), codec, (_, rng) => drawPractice(rng).lesson);
  return { stage: "practice", steps, settings: PRACTICE, draw };
}

async function alignment(
  options: PretrainOptions,
  control: PretrainControl,
  from: Checkpoint,
): Promise<TensorSet> {
  const { folder, threads, seed, alignmentSteps: steps } = options;
  const { wordIds, groupMask } = alignmentConstants(options.codec);
  const isDecoder = (name: string): boolean => /\.language_model\.(layers|norm)\./.test(name);
  const trained = [...from.weights.keys()].filter((name) => !isDecoder(name));
  const graph = alignmentGraph(from.weights, ALIGNMENT_GROUPS);
  const engine = await openWritten(folder, "alignment", graph, {
    objective: "classes",
    trainable: trained,
    threads,
  });
  try {
    const course = { stage: "alignment", steps, settings: ALIGNMENT, trained, seed } as const;
    return await runCourse(
      {
        ...course,
        async draw(_, rng) {
          const pictures = drawPictures(rng.fork("pictures"), IMAGES_PER_ALIGNMENT);
          const inputs = tensorSet([
            ["pixel_values", pixelValues(pictures, rng.fork("pixels"))],
            ["word_ids", wordIds],
            ["group_mask", groupMask],
          ]);
          const labels = alignmentLabels(pictures, rng.fork("labels"));
          return { inputs, labels, tokens: pictures.length * NANO.imageTokens };
        },
      },
      engine,
      from,
      control,
    );
  } finally {
    await engine.close();
  }
}

async function lessons(
  { draw, ...course }: LessonCourse,
  options: PretrainOptions,
  control: PretrainControl,
  from: Checkpoint,
): Promise<TensorSet> {
  const { folder, threads, seed } = options;
  const trained = [...from.weights.keys()].filter((name) => !isVision(name));
  const tower = await openWritten(folder, "tower", visionTowerGraph(from.weights), {
    objective: "none",
    threads,
  });
  const graph = languageGraph(from.weights);
  const engine = await openWritten(folder, "language", graph, {
    objective: "tokens",
    trainable: trained,
    threads,
  });
  try {
    return await runCourse(
      {
        ...course,
        trained,
        seed,
        async draw(step, rng) {
          const batch = draw(step);
          const pictures = batch.map(({ picture }) => picture);
          const pixels = tensorSet([["pixel_values", pixelValues(pictures, rng)]]);
          const features = await tower.forward({ inputs: pixels }, new Map());
          const { inputs, labels } = languageBatch(batch);
          const tokens = batch.reduce((sum, { ids }) => sum + ids.length, 0);
          return { inputs: tensorSet([...inputs, ["features", features]]), labels, tokens };
        },
      },
      engine,
      from,
      control,
    );
  } finally {
    await engine.close();
    await tower.close();
  }
}

/** The lessons of a step: some batches are drawn together, sorted by length, and taken in random order. */
function drawBatch(
  step: number,
  root: Rng,
  codec: Codec,
  lessonAt: (firstStep: number, rng: Rng) => Lesson,
): EncodedLesson[] {
  const draw = Math.floor(step / BATCHES_PER_DRAW);
  const rng = root.fork("draw", draw);
  const drawn = Array.from({ length: LESSONS_PER_BATCH * BATCHES_PER_DRAW }, () =>
    encodeLesson(lessonAt(draw * BATCHES_PER_DRAW, rng), codec),
  ).sort((a, b) => a.ids.length - b.ids.length);
  const order = rng.fork("order").shuffle(Array.from({ length: BATCHES_PER_DRAW }, (_, i) => i));
  const first = order[step % BATCHES_PER_DRAW]! * LESSONS_PER_BATCH;
  return drawn.slice(first, first + LESSONS_PER_BATCH);
}
