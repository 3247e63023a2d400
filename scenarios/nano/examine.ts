/** What fedloom-nano has learned: whole answers right on fresh lessons, by kind. */
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { createRng } from "../../base/rng.ts";
import { COLOR_NAMES } from "../../data/scenes/sprites.ts";
import { type Codec, encodeLesson, languageBatch, NO_LABEL, pixelValues } from "./batch.ts";
import { openWritten } from "./course.ts";
import { LESSON_KINDS, LESSONS, type LessonKind } from "./curriculum.ts";
import { languageGraph, visionTowerGraph } from "./graphs.ts";
import type { Lesson } from "./lesson.ts";

export interface Score {
  /** Answers in the lessons of the kind: a stream has 22, a choice one. */
  readonly answers: number;
  /** Those of which the model would have said every token, given the true text before it. */
  readonly right: number;
  /** Of streams, by kind of question: the query's first word, or "name" for "red star". */
  readonly byQuestion?: Readonly<Record<string, Score>>;
}

const LESSONS_PER_BATCH = 16;

export async function examine(
  weights: TensorSet,
  options: {
    readonly codec: Codec;
    readonly folder: string;
    readonly threads: number;
    readonly batches: number;
  },
): Promise<Readonly<Record<LessonKind, Score>>> {
  const { codec, folder, threads, batches } = options;
  const tower = await openWritten(folder, "tower", visionTowerGraph(weights), { objective: "none", threads });
  const language = await openWritten(folder, "language", languageGraph(weights), {
    objective: "none",
    threads,
  });
  const scores: Partial<Record<LessonKind, Score>> = {};
  try {
    for (const kind of LESSON_KINDS) {
      const tallies = new Map<string, Tally>();
      for (let i = 0; i < batches; i++) {
        const rng = createRng("examination").fork(kind, i);
        const drawn = Array.from({ length: LESSONS_PER_BATCH }, () => LESSONS[kind](rng));
        const lessons = drawn.map((lesson) => encodeLesson(lesson, codec));
        const pictures = lessons.map(({ picture }) => picture);
        const pixels = tensorSet([["pixel_values", pixelValues(pictures, rng)]]);
        const features = await tower.forward({ inputs: pixels }, new Map());
        const { inputs, labels } = languageBatch(lessons);
        const wanted = labelled(labels.data as BigInt64Array); // I64, as languageBatch makes them
        const batch = { inputs: tensorSet([...inputs, ["features", features]]) };
        const logits = await language.forward(
          batch,
          new Map(),
          wanted.map(({ at }) => at - 1),
        );
        const width = logits.shape[1]!;
        const data = logits.data as Float32Array; // the graph's logits are F32
        const hits = wanted.map(({ label }, row) => argmax(data, row * width, width) === label);
        const questions = drawn.flatMap(questionsOf);
        for (const [n, answer] of runs(wanted.map(({ at }) => at)).entries()) {
          const tally = tallies.get(questions[n]!) ?? { answers: 0, right: 0 };
          tally.answers++;
          if (answer.every((index) => hits[index])) tally.right++;
          tallies.set(questions[n]!, tally);
        }
      }
      scores[kind] = scoreOf(kind, tallies);
    }
  } finally {
    await language.close();
    await tower.close();
  }
  return scores as Record<LessonKind, Score>; // the loop went through every kind
}

interface Tally {
  answers: number;
  right: number;
}

function scoreOf(kind: LessonKind, tallies: ReadonlyMap<string, Tally>): Score {
  const all = [...tallies.values()];
  const total = {
    answers: all.reduce((sum, { answers }) => sum + answers, 0),
    right: all.reduce((sum, { right }) => sum + right, 0),
  };
  const terse = kind === "stream" || kind === "textStream";
  return terse ? { ...total, byQuestion: Object.fromEntries(tallies) } : total;
}

/** For each learned piece of a lesson what kind of question stands before it. */
function questionsOf({ pieces }: Lesson): string[] {
  return pieces.flatMap(({ learned }, i) => {
    if (!learned) return [];
    const [first] = pieces[i - 1]!.text.trim().split(" ");
    return [(COLOR_NAMES as readonly string[]).includes(first!) ? "name" : first!];
  });
}

function labelled(labels: BigInt64Array): { at: number; label: number }[] {
  const found: { at: number; label: number }[] = [];
  labels.forEach((label, at) => {
    if (label !== NO_LABEL) found.push({ at, label: Number(label) });
  });
  return found;
}

/** Indices of neighbors grouped: labels in a row are one answer. */
function runs(positions: readonly number[]): number[][] {
  const groups: number[][] = [];
  positions.forEach((at, index) => {
    if (index > 0 && at === positions[index - 1]! + 1) groups.at(-1)!.push(index);
    else groups.push([index]);
  });
  return groups;
}

function argmax(data: Float32Array, from: number, length: number): number {
  let best = 0;
  for (let i = 1; i < length; i++) if (data[from + i]! > data[from + best]!) best = i;
  return best;
}
