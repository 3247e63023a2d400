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
  stream,
  textChoice,
  textStream,
  whichSource,
} from "./teachers.ts";

export const LESSONS = {
  stream,
  textStream,
  letterStream,
  dense,
  matchPack,
  choicePack,
  choice,
  match,
  textChoice,
  whichSource,
} as const satisfies Record<string, Teacher>;

export type LessonKind = keyof typeof LESSONS;
export const LESSON_KINDS = Object.keys(LESSONS) as readonly LessonKind[]; // the keys of a const object

/** Shares of the kinds from a point of the course on, as a part of all steps. */
const STAGES: readonly { readonly from: number; readonly shares: Readonly<Record<LessonKind, number>> }[] = [
  {
    from: 0,
    shares: {
      stream: 0.62,
      textStream: 0.14,
      letterStream: 0.12,
      dense: 0.06,
      matchPack: 0.06,
      choicePack: 0,
      choice: 0,
      match: 0,
      textChoice: 0,
      whichSource: 0,
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
      choice: 0,
      match: 0.05,
      textChoice: 0.05,
      whichSource: 0,
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

/** @param progress 0 at the course's beginning, 1 at its end */
export function drawLesson(progress: number, rng: Rng): { kind: LessonKind; lesson: Lesson } {
  const stage = STAGES.findLast(({ from }) => progress >= from)!;
  const kind =
    LESSON_KINDS[
      drawShare(
        rng,
        LESSON_KINDS.map((name) => stage.shares[name]),
      )
    ]!;
  return { kind, lesson: LESSONS[kind](rng) };
}
