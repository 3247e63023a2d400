import { expect, test } from "vitest";
import { nearest } from "../../base/nearest.ts";

const known = ["learning_rate", "rounds", "rank", "weight_decay"];

test.each([
  ["learningRate", "learning_rate"], // case and underscores do not count
  ["ruonds", "rounds"], // a swap of neighbours is one change
  ["weigth_decay", "weight_decay"],
  ["rnk", "rank"],
])("%s means %s", (word, meant) => {
  expect(nearest(word, known)).toBe(meant);
});

test("a word unlike all others means none of them", () => {
  expect(nearest("colour", known)).toBeUndefined();
  expect(nearest("anything", [])).toBeUndefined();
});
