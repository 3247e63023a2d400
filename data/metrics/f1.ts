/**
 * F1 = 2·tp / (2·tp + fp + fn) per class, over the classes seen in truth or predictions.
 *
 * macro: the plain mean over classes. micro: from the sums over classes; with one class an example it equals accuracy.
 * A class never predicted and never true does not occur here, so nothing is divided by zero.
 *
 * Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.f1_score.html
 */
import { type Classes, classesOf } from "./classes.ts";
import { type Metric, mean } from "./metric.ts";

interface Counts {
  tp: number;
  fp: number;
  fn: number;
}

const f1 = ({ tp, fp, fn }: Counts): number => (2 * tp) / (2 * tp + fp + fn);

export function countsByClass(classes: readonly Classes[]): Map<string, Counts> {
  const counts = new Map<string, Counts>();
  const of = (name: string): Counts => {
    const known = counts.get(name) ?? { tp: 0, fp: 0, fn: 0 };
    counts.set(name, known);
    return known;
  };
  for (const { truth, predicted } of classes) {
    if (truth === predicted) of(truth).tp++;
    else {
      of(truth).fn++;
      of(predicted).fp++;
    }
  }
  return counts;
}

/** Macro F1 of bare classes, in [0, 1]. */
export function macroF1(classes: readonly Classes[]): number {
  return mean([...countsByClass(classes).values()].map(f1));
}

export const f1Macro: Metric = {
  name: "f1-macro",
  meaning: "mean over classes of F1; rare classes weigh as much as common ones",
  better: "higher",
  compute: (scored) => macroF1(scored.map(classesOf)),
};

export const f1Micro: Metric = {
  name: "f1-micro",
  meaning: "F1 from the counts of all classes together",
  better: "higher",
  compute(scored) {
    const sum: Counts = { tp: 0, fp: 0, fn: 0 };
    for (const one of countsByClass(scored.map(classesOf)).values()) {
      sum.tp += one.tp;
      sum.fp += one.fp;
      sum.fn += one.fn;
    }
    return f1(sum);
  },
};
