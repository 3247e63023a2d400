/**
 * CrisisMMD v2.0, humanitarian task: crisismmd_datasplit_all/task_humanitarian_text_img_{train,dev,test}.tsv; the label
 * is `label_image`; web addresses are cut out of the tweets.
 *
 * Source: Alam et al. 2018, https://crisisnlp.qcri.org/crisismmd; FedMLLM, https://arxiv.org/abs/2411.14717
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Split } from "../dataset.ts";
import type { Example } from "../example.ts";
import { CRISIS_CLASSES, crisisPrompt } from "../prompts/multiple-choice.ts";
import { withoutUrls } from "../python/text.ts";
import { Collector } from "./collector.ts";
import type { DatasetFormat } from "./format.ts";
import { addRows, holds, requireFolder } from "./published.ts";
import { member, type PublishedRow, readTableRows, refuseRow, textMember } from "./published-rows.ts";

const table = (part: string): string => `crisismmd_datasplit_all/task_humanitarian_text_img_${part}.tsv`;

const FILES: readonly (readonly [file: string, split: Split])[] = [
  [table("train"), "train"],
  [table("dev"), "validation"],
  [table("test"), "held-out"],
];

export const crisisMmdFormat: DatasetFormat = {
  name: "crisis-mmd",
  expects: `${table("{train,dev,test}")}, pictures in data_image/`,
  recognizes: (place) => holds(place, table("train")),
  async read(place, options) {
    const collector = new Collector(options);
    const folder = requireFolder(this.name, place.path, table("train"), "crisis-mmd");
    for (const [name, split] of FILES) {
      const file = join(folder, name);
      if (existsSync(file))
        addRows(collector, split, readTableRows(file), (row) => exampleOf(row, folder, collector));
    }
    return collector.splits;
  },
};

function exampleOf(row: PublishedRow, folder: string, collector: Collector): Example | undefined {
  const label = member(row, "label_image");
  const index = typeof label === "string" ? (CRISIS_CLASSES as readonly string[]).indexOf(label) : -1;
  if (index < 0)
    return refuseRow(
      row,
      `the label_image must be one of ${CRISIS_CLASSES.join(", ")}, got ${String(label)}`,
    );
  const text = withoutUrls(textMember(row, "tweet_text"));
  const image = collector.media(row, folder, textMember(row, "image"));
  if (image === undefined) return undefined;
  return {
    id: textMember(row, "image_id"),
    turns: [
      { role: "user", content: crisisPrompt.prompt(text, { text: true, image: true }, "standard") },
      { role: "assistant", content: crisisPrompt.options[index]! },
    ],
    images: [image],
    audios: [],
    label: CRISIS_CLASSES[index]!,
    options: crisisPrompt.options,
    template: { name: crisisPrompt.name, text },
  };
}
