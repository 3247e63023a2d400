/**
 * Hateful Memes: train.jsonl, dev_seen.jsonl, test_seen.jsonl of {"id", "img", "label": 0 | 1, "text"}; pictures in img/.
 * Files without labels (test.jsonl of the challenge) are not read.
 *
 * Source: Kiela et al. 2020, https://arxiv.org/abs/2005.04790
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Split } from "../dataset.ts";
import type { Example } from "../example.ts";
import { hatefulMemesPrompt } from "../prompts/multiple-choice.ts";
import { Collector } from "./collector.ts";
import type { DatasetFormat } from "./format.ts";
import { addRows, holds, problemsInto, requireFolder } from "./published.ts";
import {
  member,
  type PublishedRow,
  plainText,
  readJsonLineRows,
  refuseRow,
  textMember,
} from "./published-rows.ts";
import { firstJsonLine } from "./text-files.ts";

const FILES: readonly (readonly [file: string, split: Split])[] = [
  ["train.jsonl", "train"],
  ["dev_seen.jsonl", "validation"],
  ["test_seen.jsonl", "held-out"],
];

export const hatefulMemesFormat: DatasetFormat = {
  name: "hateful-memes",
  expects:
    'train.jsonl (dev_seen.jsonl, test_seen.jsonl) of {"id", "img", "label", "text"}, pictures in img/',
  recognizes(place) {
    const file = ["", "raw_data"]
      .map((below) => join(place.path, below, "train.jsonl"))
      .find((path) => existsSync(path));
    if (!holds(place, "train.jsonl") || file === undefined) return false;
    const row = firstJsonLine(file);
    return row !== undefined && "img" in row && "text" in row && "label" in row;
  },
  async read(place, options) {
    const collector = new Collector(options);
    const folder = requireFolder(this.name, place.path, "train.jsonl", "hateful_memes");
    for (const [name, split] of FILES) {
      const file = join(folder, name);
      if (!existsSync(file)) continue;
      const rows = readJsonLineRows(file, problemsInto(collector));
      addRows(collector, split, rows, (row) => exampleOf(row, folder, collector));
    }
    return collector.splits;
  },
};

function exampleOf(row: PublishedRow, folder: string, collector: Collector): Example | undefined {
  const label = Number(member(row, "label"));
  const answer = hatefulMemesPrompt.options[label];
  if (answer === undefined) return refuseRow(row, `the label must be 0 or 1, got ${plainText(row, "label")}`);
  const text = textMember(row, "text");
  const image = collector.media(row, folder, textMember(row, "img"));
  if (image === undefined) return undefined;
  return {
    id: plainText(row, "id"),
    turns: [
      { role: "user", content: hatefulMemesPrompt.prompt(text, { text: true, image: true }, "standard") },
      { role: "assistant", content: answer },
    ],
    images: [image],
    audios: [],
    label: label === 0 ? "not-hateful" : "hateful",
    options: hatefulMemesPrompt.options,
    template: { name: hatefulMemesPrompt.name, text },
  };
}
