/**
 * Area under the ROC curve of a two-class task: the chance that a positive example scores above a negative one.
 *
 *   AUC = (R₊ − n₊(n₊+1)/2) / (n₊·n₋)      R₊: sum of the positives' ranks, ties share the mean of theirs
 *
 * Positive is the second of the two options. The score is the gap of the options' log-likelihoods where the
 * trainer gives them, else 1 or 0 by the predicted class, ½ where the answer names none.
 *
 * Source: Mann and Whitney 1947; https://scikit-learn.org/stable/modules/generated/sklearn.metrics.roc_auc_score.html
 */
import { classesOf, NO_CLASS } from "./classes.ts";
import { type Metric, refuse, type Scored, truthOf } from "./metric.ts";

/** @returns NaN where one of the two classes is missing */
export function rankAuc(positive: readonly boolean[], scores: readonly number[]): number {
  const order = scores.map((_, index) => index).sort((a, b) => scores[a]! - scores[b]!);
  let rankSum = 0;
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && scores[order[to]!] === scores[order[from]!]) to++;
    const sharedRank = (from + 1 + to) / 2;
    for (let i = from; i < to; i++) if (positive[order[i]!]) rankSum += sharedRank;
    from = to;
  }
  const positives = positive.filter(Boolean).length;
  const negatives = positive.length - positives;
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}

function aucOf(name: string, scored: readonly Scored[], score: (one: Scored) => number): number {
  const options = scored[0]!.example.options;
  if (options?.length !== 2)
    refuse(name, `it wants examples with two options, got ${options?.length ?? "none"}`);
  const positive = scored.map(({ example }) => truthOf(example) === example.options?.[1]);
  const value = rankAuc(positive, scored.map(score));
  if (Number.isNaN(value)) refuse(name, "it wants examples of both classes, got one class only");
  return value;
}

function hardScore(one: Scored): number {
  const { predicted } = classesOf(one);
  if (predicted === NO_CLASS) return 0.5;
  return predicted === one.example.options![1] ? 1 : 0;
}

export const auc: Metric = {
  name: "auc",
  meaning: "area under the ROC curve by the gap of the two options' likelihoods",
  better: "higher",
  compute: (scored) =>
    aucOf("auc", scored, (one) => {
      const scores = one.answer.optionScores;
      return scores === undefined ? hardScore(one) : scores[1]! - scores[0]!;
    }),
};

export const aucHard: Metric = {
  name: "auc-hard",
  meaning: "area under the ROC curve by the predicted class alone, as the benchmark reports it",
  better: "higher",
  compute: (scored) => aucOf("auc-hard", scored, hardScore),
};
