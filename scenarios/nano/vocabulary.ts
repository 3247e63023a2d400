/** The words of fedloom-nano: those of its lessons, and those of the tasks it will be fine-tuned on. */
import { createRng } from "../../base/rng.ts";
import { CRISIS_CLASSES } from "../../data/prompts/multiple-choice.ts";
import { learnMerges, type Merge } from "./bpe.ts";
import { LESSONS } from "./curriculum.ts";
import { type Lesson, SPECIALS } from "./lesson.ts";
import { TASK_WORDS } from "./task-words.ts";

/** How a byte-level tokenizer cuts text before it merges, as GPT-2's. */
const WORD = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Enough lessons of each kind that every word of the grammar comes up. */
const SAMPLED = 400;

export function lessonWords(): string[] {
  const rng = createRng("vocabulary");
  const words = new Set<string>();
  const add = (text: string): void => {
    for (const [word] of text.matchAll(WORD)) words.add(word);
  };
  for (const [kind, teach] of Object.entries(LESSONS)) {
    for (let i = 0; i < SAMPLED; i++) for (const text of textsOf(teach(rng.fork(kind, i)))) add(text);
  }
  for (const word of TASK_WORDS) {
    add(` ${word}`);
    add(` ${word.toLowerCase()}`);
  }
  // "vehicle_damage" is cut at the line, and what follows it has no blank.
  for (const name of CRISIS_CLASSES) for (const word of name.split("_").slice(1)) add(word);
  for (let digit = 0; digit < 10; digit++) add(` ${digit}`);
  // Frequent words also begin a line, where no blank stands before them.
  for (const word of ["the", "a", "i", "is", "what", "where", "how", "are", "people", "this", "we", "there"])
    add(word);
  return [...words].sort();
}

function textsOf({ pieces }: Lesson): string[] {
  const mark = new RegExp(SPECIALS.map((token) => token.replaceAll("|", "\\|")).join("|"), "g");
  // A given piece and the learned one after it meet at a special token or a blank, so each is cut alone.
  return pieces.flatMap(({ text }) => text.split(mark));
}

export function vocabularyMerges(): Merge[] {
  return learnMerges(lessonWords());
}
