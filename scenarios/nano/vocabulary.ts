/** The words of fedloom-nano: those of its lessons, and those of the tasks it will be fine-tuned on. */
import { createRng } from "../../base/rng.ts";
import { learnMerges, type Merge } from "./bpe.ts";
import { LESSONS } from "./curriculum.ts";
import { type Lesson, SPECIALS } from "./lesson.ts";

/** How a byte-level tokenizer cuts text before it merges, as GPT-2's. */
const WORD = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Words of prompts and answers that no lesson holds: a task can learn them, since each has a row of its own. */
const TASK_WORDS = `
 Is the content hateful not-hateful What is the humanitarian category based on the image and text without
 considering the modality affected individuals infrastructure and utility damage injured or dead people missing or
 found people rescue volunteering or donation effort vehicle damage other relevant information not humanitarian
 people never love hate every day this one again please help needed now road bridge house flood fire storm after
 many families lost home water food trapped hurt hospital search team volunteers gave money car crashed truck burned
 news report nothing happened lung brain liver lesion mass normal abnormal organ shown which is there seen in left
 right upper lower what causes treats treatment symptom sign disease drug fever cough pain rash blood heart kidney
 skin bone rest surgery vitamin who why when how much true false question answer the a an of to it are was be with
 for on at by from has have can will that these those`;

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
  for (const word of TASK_WORDS.trim().split(/\s+/)) {
    add(` ${word}`);
    add(` ${word.toLowerCase()}`);
  }
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
