/** What a metric is: a number over examples and what a model answered to them. */
import { FedloomError } from "../../base/errors.ts";
import type { Example } from "../example.ts";

/** What a trainer's prediction must hold to be scored; training/trainer.ts's Prediction is one. */
export interface Answer {
  readonly id: string;
  readonly text: string;
  /** Log-likelihood of each of the example's options, in their order. */
  readonly optionScores?: readonly number[];
  /** Mean negative log-likelihood per token of the true answer, in nats, and the tokens it is the mean of. */
  readonly loss?: number;
  readonly tokens?: number;
}

export interface Scored {
  readonly example: Example;
  readonly answer: Answer;
}

export interface Metric {
  readonly name: string;
  /** What it says, one line, for the page of metrics. */
  readonly meaning: string;
  readonly better: "higher" | "lower";
  /** @throws FedloomError F2007 where these examples have no such score */
  compute(scored: readonly Scored[]): number;
}

/** The true answer: the last turn's words. */
export function truthOf(example: Example): string {
  return example.turns.at(-1)!.content.trim();
}

export function refuse(metric: string, wanted: string): never {
  throw new FedloomError("F2007", `Cannot compute "${metric}": ${wanted}`, { metric });
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
