import { type Metric, mean, truthOf } from "./metric.ts";

/** Letters and digits of the Latin alphabet, lower case; everything else parts words. No stemming. */
function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
}

/** Length of the longest common subsequence, in O(n·m) time and O(m) memory. */
function longestCommon(a: readonly string[], b: readonly string[]): number {
  let before = new Uint32Array(b.length + 1);
  for (const word of a) {
    const row = new Uint32Array(b.length + 1);
    for (let j = 1; j <= b.length; j++) {
      row[j] = word === b[j - 1] ? before[j - 1]! + 1 : Math.max(before[j]!, row[j - 1]!);
    }
    before = row;
  }
  return before[b.length]!;
}

/**
 * ROUGE-L of one answer: F = 2PR / (P + R), P = LCS / words of the answer, R = LCS / words of the truth.
 *
 * Source: Lin 2004, §3, with β = 1 as the package rouge_score has it, https://aclanthology.org/W04-1013
 */
export function rougeLOf(truth: string, answer: string): number {
  const [wanted, got] = [wordsOf(truth), wordsOf(answer)];
  const common = longestCommon(wanted, got);
  return common === 0 ? 0 : (2 * common) / (wanted.length + got.length);
}

export const rougeL: Metric = {
  name: "rouge-l",
  meaning: "overlap of free-text answers by their longest common subsequence of words",
  better: "higher",
  compute: (scored) => mean(scored.map(({ example, answer }) => rougeLOf(truthOf(example), answer.text))),
};
