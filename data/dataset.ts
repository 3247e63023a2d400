/** What a dataset on disk is to the rest of the program. */
import { type Code, FedloomError } from "../base/errors.ts";
import type { Example } from "./example.ts";

/** Names of splits, however the files are called: dev is "validation", test and eval are "held-out". */
export const SPLITS = ["train", "validation", "held-out"] as const;
export type Split = (typeof SPLITS)[number];

/** Something wrong in a dataset file. The row it is about is left out of the examples. */
export interface Problem {
  readonly code: Code;
  readonly file: string;
  /** Counted from 1; absent where the file as a whole is meant. */
  readonly line?: number;
  readonly message: string;
}

export interface Dataset {
  /** A name of data/formats/index.ts. */
  readonly format: string;
  /** Absolute path of the directory or file that was opened. */
  readonly root: string;
  /** Text and paths only; media bytes stay on disk. */
  readonly splits: ReadonlyMap<Split, readonly Example[]>;
  readonly problems: readonly Problem[];
}

export type Splits = Map<Split, Example[]>;

/** Where readers put what is wrong; they go on with the next row. */
export class ProblemLog {
  readonly problems: Problem[] = [];

  add(file: string, line: number | undefined, message: string, code: Code = "F2001"): void {
    this.problems.push(line === undefined ? { code, file, message } : { code, file, line, message });
  }
}

export function problemText(problem: Problem): string {
  const place = problem.line === undefined ? problem.file : `${problem.file}:${problem.line}`;
  return `${place}: ${problem.message}`;
}

/** @throws FedloomError F2005 where the dataset lacks the split */
export function examplesOf(dataset: Dataset, split: Split): readonly Example[] {
  const examples = dataset.splits.get(split);
  if (examples !== undefined) return examples;
  const known = [...dataset.splits.keys()].join(", ");
  throw new FedloomError(
    "F2005",
    `Cannot take split "${split}" of ${dataset.root}: the ${dataset.format} dataset there holds ${known || "no split"}`,
    { split, known },
  );
}

/** The split a file name speaks of, or undefined: "train-00000-of-00002.parquet" is "train". */
export function splitOfName(name: string): Split | undefined {
  const words = name.toLowerCase().split(/[^a-z]+/);
  if (words.some((word) => /^train(ing)?$/.test(word))) return "train";
  if (words.some((word) => /^(val|valid|validation|dev)$/.test(word))) return "validation";
  if (words.some((word) => /^(test|eval|evaluation|heldout|held)$/.test(word))) return "held-out";
  return undefined;
}
