/** The class an answer stands for, for accuracy, F1 and AUC. */
import type { Example } from "../example.ts";
import { type Scored, truthOf } from "./metric.ts";

/** What an answer is that names no option: a class of its own, never right. */
export const NO_CLASS = "(none)";

export interface Classes {
  readonly truth: string;
  readonly predicted: string;
}

/**
 * The likeliest option where there are scores; else the option the text names, in full or by its letter;
 * else, without options, the text itself.
 */
export function classesOf({ example, answer }: Scored): Classes {
  const truth = truthOf(example);
  if (example.options === undefined) return { truth, predicted: answer.text.trim() };
  if (answer.optionScores !== undefined) {
    return { truth, predicted: example.options[indexOfLargest(answer.optionScores)] ?? NO_CLASS };
  }
  return { truth, predicted: optionNamed(answer.text, example) ?? NO_CLASS };
}

/** The first of the largest. */
export function indexOfLargest(values: readonly number[]): number {
  return values.reduce((best, value, index) => (value > values[best]! ? index : best), 0);
}

/** "(B) hateful", "hateful", "b", "(B)" and "B." all name the second of two options. */
function optionNamed(text: string, example: Example): string | undefined {
  const options = example.options!;
  const plain = (option: string): string => option.trim().toLowerCase();
  const said = plain(text);
  const whole = options.find((option) => plain(option) === said);
  if (whole !== undefined) return whole;
  const withoutLetter = (option: string): string => plain(option).replace(/^\([a-z]\)\s*/, "");
  const byName = options.filter((option) => withoutLetter(option) === withoutLetter(text));
  if (byName.length === 1 && !/^\([a-z]\)/.test(said)) return byName[0];
  const letter = /^\(?([a-z])\)?[.:]?$/.exec(said)?.[1] ?? /^\(([a-z])\)\s/.exec(said)?.[1];
  return letter === undefined ? undefined : options[letter.charCodeAt(0) - 97];
}
