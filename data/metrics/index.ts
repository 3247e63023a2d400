/** The metrics, by the names that a run's `evaluation.metrics` says. All are fractions but loss and perplexity. */
import { FedloomError } from "../../base/errors.ts";
import { nearest } from "../../base/nearest.ts";
import type { Example } from "../example.ts";
import { accuracy } from "./accuracy.ts";
import { auc, aucHard } from "./auc.ts";
import { exactMatch } from "./exact-match.ts";
import { f1Macro, f1Micro } from "./f1.ts";
import { loss, perplexity } from "./loss.ts";
import type { Answer, Metric, Scored } from "./metric.ts";
import { rougeL } from "./rouge-l.ts";
import { vqa, vqaClosed, vqaOpen } from "./vqa.ts";

export const METRICS: readonly Metric[] = [
  accuracy,
  exactMatch,
  f1Macro,
  f1Micro,
  auc,
  aucHard,
  vqa,
  vqaOpen,
  vqaClosed,
  rougeL,
  loss,
  perplexity,
];

/** @throws FedloomError F2005 with the known names */
export function metricNamed(name: string): Metric {
  const metric = METRICS.find((known) => known.name === name);
  if (metric !== undefined) return metric;
  const names = METRICS.map((known) => known.name);
  const near = nearest(name, names);
  throw new FedloomError(
    "F2005",
    `Cannot score by "${name}": ${near === undefined ? "" : `did you mean "${near}"? `}known are ${names.join(", ")}`,
    { name },
  );
}

/**
 * Scores by name. Answers are matched to examples by id; their order does not matter.
 *
 * @throws FedloomError F2005 for an unknown metric, F2007 where an example has no answer or a metric does not fit
 */
export function score(
  names: readonly string[],
  examples: readonly Example[],
  answers: readonly Answer[],
): Record<string, number> {
  const metrics = names.map(metricNamed);
  if (examples.length === 0)
    throw new FedloomError("F2007", "Cannot compute scores: there are no examples", {});
  const byId = new Map(answers.map((answer) => [answer.id, answer]));
  const scored = examples.map((example): Scored => {
    const answer = byId.get(example.id);
    if (answer === undefined) {
      throw new FedloomError("F2007", `Cannot compute scores: example "${example.id}" has no prediction`, {
        id: example.id,
      });
    }
    return { example, answer };
  });
  return Object.fromEntries(metrics.map((metric) => [metric.name, metric.compute(scored)]));
}
