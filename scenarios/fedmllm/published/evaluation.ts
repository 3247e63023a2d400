/**
 * Scores as the published evaluation scripts compute them, quirks included: hard answers, a failed call counted as
 * an answer of its own, percent to two digits.
 *
 * Source: FedMLLM, eval_hateful.py, eval_crisismmd.py, eval_medical{,_slake}.py, vqa.py
 */
import { type PublishedRow, plainText, refuseRow } from "../../../data/formats/published-rows.ts";
import { rankAuc } from "../../../data/metrics/auc.ts";
import { macroF1 } from "../../../data/metrics/f1.ts";
import { normalizeVqa } from "../../../data/metrics/vqa-normalize.ts";
import type { PromptForm } from "../../../data/prompts/multiple-choice.ts";
import { PUBLISHED_FAILURE, publishedOption } from "../../../data/prompts/parse-answer.ts";
import type { PublishedTask } from "./task.ts";

/** What a failed model call counts as in visual question answering. */
const FAILED_VQA = "Error";

/** The evaluation prompt: both modalities kept; the picture goes to the model apart, without a mark. */
export function evaluationPrompt(task: PublishedTask, row: PublishedRow, form: PromptForm): string {
  return task.template.prompt(task.text(row), { text: true, image: true }, form).replace("<image>\n", "");
}

export interface ChoiceScores {
  readonly truth: readonly number[];
  readonly predicted: readonly number[];
  /** Hateful-Memes: AUC over the hard answers 0, 1, 2. CrisisMMD: macro F1. Times 100. */
  readonly score: number;
}

/** @param answers what the model said to each row, or null where the call failed */
export function scoreChoices(
  task: PublishedTask,
  rows: readonly PublishedRow[],
  answers: readonly (string | null)[],
): ChoiceScores {
  const truth = rows.map((row) => {
    const answer = task.answer(row);
    return answer === undefined
      ? refuseRow(row, "the label is none of the classes")
      : task.template.options.indexOf(answer);
  });
  const predicted = answers.map((answer) => publishedOption(task.template, answer ?? PUBLISHED_FAILURE));
  const score =
    task.name === "hateful-memes"
      ? rankAuc(
          truth.map((label) => label === 1),
          predicted,
        )
      : macroF1(truth.map((label, i) => ({ truth: String(label), predicted: String(predicted[i]) })));
  return { truth, predicted, score: score * 100 };
}

export interface VqaScores {
  /** [truth, answer] in their normal form. */
  readonly normalized: readonly (readonly [truth: string, answer: string])[];
  readonly wrong: number;
  /** Percent to two digits: all, and per answer_type as it stands in the file ("CLOSED " is a type of its own). */
  readonly overall: number;
  readonly byType: ReadonlyMap<string, number>;
}

export function scoreVqa(rows: readonly PublishedRow[], answers: readonly (string | null)[]): VqaScores {
  const normalized = rows.map((row, i): [string, string] => [
    normalizeVqa(plainText(row, "answer"), "published"),
    normalizeVqa(answers[i] ?? FAILED_VQA, "published"),
  ]);
  const right = normalized.map(([truth, answer]) => truth === answer);
  const types = rows.map((row) => plainText(row, "answer_type"));
  const percent = (chosen: readonly boolean[]): number =>
    pythonRound((100 * chosen.filter(Boolean).length) / chosen.length);
  return {
    normalized,
    wrong: right.filter((one) => !one).length,
    overall: percent(right),
    byType: new Map(
      [...new Set(types)].map((type) => [type, percent(right.filter((_, i) => types[i] === type))]),
    ),
  };
}

/** round(value, 2): to the nearest, exact ties to the even digit. */
function pythonRound(value: number): number {
  const doubled = value * 200;
  const tie = Number.isInteger(doubled) && doubled % 2 === 1 && doubled / 200 === value;
  if (!tie) return Number(value.toFixed(2));
  const lower = (doubled - 1) / 2;
  return (lower % 2 === 0 ? lower : lower + 1) / 100;
}
