/**
 * Which option a free answer names.
 *
 * `published` is the benchmark's parser with its quirks: the words answer and Answer go, the first capital among
 * the letters anywhere counts ("Given the image, (E)" is G), and what is no valid letter is option 2, wrong in a
 * two-class task and a real class in CrisisMMD. `strict` wants the letter to stand alone or the option's name,
 * and says so where there is none.
 *
 * Source: FedMLLM, eval_hateful.py and eval_crisismmd.py, https://github.com/1xbq1/FedMLLM
 */
import { pythonStrip } from "../python/text.ts";
import type { Template } from "./multiple-choice.ts";

/** What the published parser answers when it finds nothing. */
export const PUBLISHED_FALLBACK = 2;
/** The published scripts answer for a model that failed. */
export const PUBLISHED_FAILURE = "C";

/** Letters that the published parser looks for: A to G for two options, A to H for eight. */
const LETTERS: Readonly<Record<string, string>> = { "hateful-memes": "A-G", "crisis-mmd": "A-H" };

export function publishedOption(template: Template, answer: string): number {
  const letters = LETTERS[template.name] ?? "A-Z";
  const found = new RegExp(`[( ]*[${letters}][) ]*`).exec(answer.replaceAll(/answer|Answer/g, ""));
  if (found === null) return PUBLISHED_FALLBACK;
  const letter = pythonStrip(found[0]).replaceAll(/^[()]+|[()]+$/g, "");
  const index = letter.length === 1 ? letter.charCodeAt(0) - 65 : -1;
  return index >= 0 && index < template.options.length ? index : PUBLISHED_FALLBACK;
}

/** @returns undefined where the answer names no option, or several */
export function strictOption(template: Template, answer: string): number | undefined {
  const said = answer.trim().toLowerCase();
  const letter = /^(?:the )?(?:best )?(?:answer)?(?: is)?:?\s*\(?([a-z])\)?(?:[.:)\s]|$)/.exec(said)?.[1];
  if (letter !== undefined) {
    const index = letter.charCodeAt(0) - 97;
    if (index < template.options.length) return index;
  }
  const names = template.options.map((option) => option.replace(/^\([A-Z]\) /, "").toLowerCase());
  const named = [...names.keys()].filter((index) => said.includes(names[index]!));
  // "not-hateful" holds "hateful": the longest name that occurs wins where it holds the others.
  const longest = named.toSorted((a, b) => names[b]!.length - names[a]!.length)[0];
  if (longest === undefined) return undefined;
  return named.every((index) => names[longest]!.includes(names[index]!)) ? longest : undefined;
}
