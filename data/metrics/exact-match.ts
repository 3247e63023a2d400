import { type Metric, mean, truthOf } from "./metric.ts";

/**
 * Lower case, without punctuation and the articles a, an, the, blanks made one.
 *
 * Source: Rajpurkar et al. 2016 (SQuAD), §6.1, https://arxiv.org/abs/1606.05250
 */
export function normalizeAnswer(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[!-/:-@[-`{-~]/g, "")
    .replaceAll(/\b(a|an|the)\b/g, " ")
    .split(/\s+/)
    .filter((word) => word !== "")
    .join(" ");
}

export const exactMatch: Metric = {
  name: "exact-match",
  meaning: "share of answers equal to the truth but for case, punctuation, articles and blanks",
  better: "higher",
  compute: (scored) =>
    mean(
      scored.map(({ example, answer }) =>
        normalizeAnswer(answer.text) === normalizeAnswer(truthOf(example)) ? 1 : 0,
      ),
    ),
};
