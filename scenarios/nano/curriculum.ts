/**
 * What is taught when. Streams first: without them small models of this kind stay at chance for a thousand steps.
 * No kind ever falls to nothing, or what it taught is forgotten.
 */
import type { Rng } from "../../base/rng.ts";
import { drawShare, type Lesson, type Teacher } from "./lesson.ts";
import {
  choice,
  choicePack,
  dense,
  letterStream,
  match,
  matchPack,
  placeStream,
  stream,
  textChoice,
  textStream,
  verdict,
  whichSource,
} from "./teachers.ts";

export const LESSONS = {
  stream,
  textStream,
  letterStream,
  placeStream,
  dense,
  matchPack,
  choicePack,
  choice,
  match,
  textChoice,
  whichSource,
  verdict,
} as const satisfies Record<string, Teacher>;

export type LessonKind = keyof typeof LESSONS;
export const LESSON_KINDS = Object.keys(LESSONS) as readonly LessonKind[]; // the keys of a const object

type Shares = Readonly<Partial<Record<LessonKind, number>>>;

/** Shares of the kinds from a point of the course on, as a part of all steps. */
const COURSE: readonly { readonly from: number; readonly shares: Shares }[] = [
  {
    from: 0,
    shares: {
      stream: 0.62,
      textStream: 0.14,
      letterStream: 0.12,
      dense: 0.06,
      matchPack: 0.06,
    },
  },
  {
    from: 0.45,
    shares: {
      stream: 0.3,
      textStream: 0.07,
      letterStream: 0.06,
      dense: 0.17,
      matchPack: 0.2,
      choicePack: 0.1,
      match: 0.05,
      textChoice: 0.05,
    },
  },
  {
    from: 0.7,
    shares: {
      stream: 0.14,
      textStream: 0.06,
      letterStream: 0.06,
      dense: 0.1,
      matchPack: 0.15,
      choicePack: 0.07,
      choice: 0.1,
      match: 0.2,
      textChoice: 0.07,
      whichSource: 0.05,
    },
  },
];

/** After the course: more of what it left unlearned, places and statements, and something of all the rest. */
const PRACTICE: Shares = {
  stream: 0.16,
  textStream: 0.05,
  letterStream: 0.03,
  placeStream: 0.08,
  dense: 0.07,
  matchPack: 0.3,
  choicePack: 0.02,
  choice: 0.03,
  match: 0.06,
  textChoice: 0.02,
  whichSource: 0.02,
  verdict: 0.16,
};

/** @param progress 0 at the course's beginning, 1 at its end */
export function drawLesson(progress: number, rng: Rng): Drawn {
  return drawFrom(COURSE.findLast(({ from }) => progress >= from)!.shares, rng);
}

export const drawPractice = (rng: Rng): Drawn => drawFrom(PRACTICE, rng);

interface Drawn {
  readonly kind: LessonKind;
  readonly lesson: Lesson;
}

function drawFrom(shares: Shares, rng: Rng): Drawn {
  const kind =
    LESSON_KINDS[
      drawShare(
        rng,
        LESSON_KINDS.map((name) => shares[name] ?? 0),
      )
    ]!;
  return { kind, lesson: LESSONS[kind](rng) };
}
