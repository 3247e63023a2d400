/**
 * What pretraining reads: a lesson is at most one picture and a text in pieces, some of them to be learned.
 * Lessons are made without end from a seed; what each says of its picture is true by construction.
 */
import type { Rng } from "../../base/rng.ts";
import type { Scan, Scene } from "../../data/scenes/scene.ts";

export const USER = "<|user|>";
export const ASSISTANT = "<|assistant|>";
export const END = "<|end|>";
export const IMAGE = "<image>";
/** Ids 0 to 5, in this order. */
export const SPECIALS = ["<|pad|>", END, USER, ASSISTANT, "<|system|>", IMAGE] as const;

export interface Piece {
  readonly text: string;
  /** Whether the model is to predict this piece from what stands before it. */
  readonly learned: boolean;
}

export interface Lesson {
  readonly picture?: Scene | Scan;
  readonly pieces: readonly Piece[];
}

export type Teacher = (rng: Rng) => Lesson;

export const given = (text: string): Piece => ({ text, learned: false });
export const learned = (text: string): Piece => ({ text, learned: true });

/** One exchange, as the chat template writes it. */
export function exchange(question: string, answer: string): Piece[] {
  return [given(`${USER} ${question}${END}${ASSISTANT}`), learned(` ${answer}${END}`)];
}

/** The first exchange of a lesson with a picture: the picture stands before the question. */
export function shown(question: string, answer: string): Piece[] {
  return [given(`${USER} ${IMAGE}\n${question}${END}${ASSISTANT}`), learned(` ${answer}${END}`)];
}

export function oneOf<T>(rng: Rng, items: readonly T[]): T {
  return items[rng.below(items.length)]!;
}

/** Draws an index with the given shares, which need not sum to 1. */
export function drawShare(rng: Rng, shares: readonly number[]): number {
  let left = rng.uniform() * shares.reduce((sum, share) => sum + share, 0);
  for (const [i, share] of shares.entries()) {
    left -= share;
    if (left < 0) return i;
  }
  return shares.length - 1;
}
