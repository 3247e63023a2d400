import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LESS_IS_BETTER } from "../../config/run.ts";
import type { Example } from "../../data/example.ts";
import { rankAuc } from "../../data/metrics/auc.ts";
import { exactMatch, normalizeAnswer } from "../../data/metrics/exact-match.ts";
import { METRICS, score } from "../../data/metrics/index.ts";
import type { Answer } from "../../data/metrics/metric.ts";
import { rougeLOf } from "../../data/metrics/rouge-l.ts";
import { normalizeVqa } from "../../data/metrics/vqa-normalize.ts";

interface Recorded {
  binary: { truth: number[]; scores: number[]; auc: number }[];
  classes: { truth: number[]; predicted: number[]; accuracy: number; macro: number; micro: number }[];
}
const recorded = JSON.parse(
  readFileSync(join(import.meta.dirname, "sklearn/scores.json"), "utf8"),
) as Recorded;

/** Sums of at most 1000 terms in another order: some units in the last place. */
const DIGITS = 12;

function example(id: string, truth: string, more: Partial<Example> = {}): Example {
  return {
    id,
    turns: [
      { role: "user", content: "?" },
      { role: "assistant", content: truth },
    ],
    images: [],
    audios: [],
    ...more,
  };
}

test.each(recorded.binary)("AUC agrees with scikit-learn on $truth.length examples, ties too", (one) => {
  const positive = one.truth.map((label) => label === 1);
  expect(rankAuc(positive, one.scores)).toBeCloseTo(one.auc, DIGITS);
});

test.each(recorded.binary)("AUC by option scores is AUC of their gap ($truth.length examples)", (one) => {
  const options = ["no", "yes"];
  const examples = one.truth.map((label, i) => example(`${i}`, options[label]!, { options }));
  const answers = one.scores.map((gap, i): Answer => ({ id: `${i}`, text: "", optionScores: [-gap, 0] }));
  expect(score(["auc"], examples, answers).auc).toBeCloseTo(one.auc, DIGITS);
});

test.each(recorded.classes)("accuracy and F1 agree with scikit-learn on $truth.length examples", (one) => {
  const examples = one.truth.map((label, i) => example(`${i}`, `class ${label}`));
  const answers = one.predicted.map((label, i): Answer => ({ id: `${i}`, text: ` class ${label}\n` }));
  const scores = score(["accuracy", "f1-macro", "f1-micro"], examples, answers);
  expect(scores.accuracy).toBeCloseTo(one.accuracy, DIGITS);
  expect(scores["f1-macro"]).toBeCloseTo(one.macro, DIGITS);
  expect(scores["f1-micro"]).toBeCloseTo(one.micro, DIGITS);
});

test("answers are matched by id, not by place", () => {
  const examples = [example("a", "x"), example("b", "y")];
  const answers = [
    { id: "b", text: "y" },
    { id: "a", text: "x" },
  ];
  expect(score(["accuracy"], examples, answers).accuracy).toBe(1);
});

test.each([
  ["(B) hateful", 1],
  ["hateful", 1],
  ["b", 1],
  ["(B)", 1],
  ["B.", 1],
  ["(A) not-hateful", 0],
  ["neither", undefined],
  ["", undefined],
])("the text %j names option %j", (text, index) => {
  const options = ["(A) not-hateful", "(B) hateful"];
  for (const truth of [0, 1]) {
    const right = score(
      ["accuracy"],
      [example("1", options[truth]!, { options })],
      [{ id: "1", text }],
    ).accuracy;
    expect(right).toBe(truth === index ? 1 : 0);
  }
});

test("exact match forgives case, punctuation, articles and blanks only", () => {
  expect(normalizeAnswer(" The  left Lung. ")).toBe("left lung");
  const pair = (text: string) => [{ example: example("1", "left lung"), answer: { id: "1", text } }];
  expect(exactMatch.compute(pair("The left lung!"))).toBe(1);
  expect(exactMatch.compute(pair("lung"))).toBe(0);
});

test("ROUGE-L agrees with the package rouge_score on recorded pairs", () => {
  const path = join(import.meta.dirname, "rouge/scores.json");
  const { pairs } = JSON.parse(readFileSync(path, "utf8")) as { pairs: [string, string, number][] };
  for (const [truth, answer, recordedScore] of pairs)
    expect(rougeLOf(truth, answer)).toBeCloseTo(recordedScore, DIGITS);
});

test("ROUGE-L is the F of the longest common subsequence", () => {
  // truth 6 words, answer 4 words, "the cat on mat" common: P = 4/4, R = 4/6, F = 2·1·(2/3)/(5/3) = 0.8
  expect(rougeLOf("the cat sat on the mat", "the cat on mat")).toBeCloseTo(0.8, DIGITS);
  // the longest common subsequence is "the gunman" (or "police killed"): 2·2 / (4 + 4)
  expect(rougeLOf("police killed the gunman", "the gunman police killed")).toBe(0.5);
  expect(rougeLOf("a b", "")).toBe(0);
  expect(rougeLOf("", "")).toBe(0);
});

test("VQA accuracy counts open and closed questions apart, by the normal form of answers", () => {
  const open = { fields: { answer_type: "OPEN" } };
  const closed = { fields: { answer_type: "CLOSED " } };
  const examples = [example("1", "X-ray", open), example("2", "two", open), example("3", "Yes", closed)];
  const answers = [
    { id: "1", text: "an x ray" },
    { id: "2", text: "3" },
    { id: "3", text: "yes." },
  ];
  expect(score(["vqa", "vqa-open", "vqa-closed"], examples, answers)).toEqual({
    vqa: 2 / 3,
    "vqa-open": 0.5,
    "vqa-closed": 1,
  });
});

test("the strict normal form has none of the published one's oddities", () => {
  expect(normalizeVqa("well-known , yes", "published")).toBe("well known yes");
  expect(normalizeVqa("1,5 left/right", "published")).toBe("15 leftright");
  expect(normalizeVqa("1,500 left/right", "strict")).toBe("1500 left right");
  expect(normalizeVqa("Im", "strict")).toBe(normalizeVqa("I'm", "strict"));
  expect(normalizeVqa(`${".".repeat(40)}lung`, "strict")).toBe("lung");
});

test("the loss of examples is weighted by their tokens", () => {
  const examples = [example("1", "x"), example("2", "y")];
  const answers = [
    { id: "1", text: "", loss: 1, tokens: 1 },
    { id: "2", text: "", loss: 3, tokens: 3 },
  ];
  // (1·1 + 3·3) / 4 = 2.5
  expect(score(["loss", "perplexity"], examples, answers)).toEqual({ loss: 2.5, perplexity: Math.exp(2.5) });
});

test.each(METRICS)("$name refuses or gives a finite number on answers that are empty", (metric) => {
  const scored = [{ example: example("1", "yes"), answer: { id: "1", text: "" } }];
  let value = 0;
  try {
    value = metric.compute(scored);
  } catch (error) {
    expect(error).toMatchObject({ code: "F2007" });
  }
  expect(Number.isFinite(value)).toBe(true);
});

test("an unknown metric is refused with the nearest known one", () => {
  expect(() => score(["f1_macr"], [], [])).toThrow('Cannot score by "f1_macr": did you mean "f1-macro"?');
});

test("a missing prediction is refused by name", () => {
  expect(() => score(["accuracy"], [example("7", "x")], [])).toThrow('example "7" has no prediction');
});

test("AUC wants two options and both classes", () => {
  const options = ["no", "yes"];
  const answers = [{ id: "1", text: "yes" }];
  expect(() => score(["auc"], [example("1", "x")], answers)).toThrow("two options, got none");
  expect(() => score(["auc"], [example("1", "yes", { options })], answers)).toThrow("one class only");
});

test("the metrics of which a run keeps the lowest as the best are those of which less is better", () => {
  const lower = METRICS.filter(({ better }) => better === "lower").map(({ name }) => name);
  expect([...LESS_IS_BETTER].sort()).toEqual(lower.sort());
});
