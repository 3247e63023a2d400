/**
 * JSON arrays of conversations: ShareGPT and LLaVA ({"id", "image", "conversations": [{"from", "value"}]}), and any other row
 * shape of conversation.ts. One file a split; media paths are relative to the file.
 *
 * Source: https://github.com/haotian-liu/LLaVA/blob/main/docs/Finetune_Custom_Data.md
 */
import { basename, dirname } from "node:path";
import { splitOfName } from "../dataset.ts";
import { Collector } from "./collector.ts";
import { exampleOfRow } from "./conversation.ts";
import { type DatasetFormat, filesEnding } from "./format.ts";
import { headOf, rowsOfJsonArray } from "./text-files.ts";

const LOOKS = /^\s*\[\s*\{[\s\S]*"(conversations|messages|instruction|question|query|prompt)"\s*:/;

export const shareGpt: DatasetFormat = {
  name: "sharegpt",
  expects: 'train.json: an array of {"id", "image", "conversations": [{"from": "human" | "gpt", "value"}]}',
  recognizes: (place) => filesEnding(place, ".json").some((path) => LOOKS.test(headOf(path))),
  async read(place, options) {
    const collector = new Collector(options);
    for (const file of filesEnding(place, ".json")) {
      if (!place.isFile && !LOOKS.test(headOf(file))) continue;
      const name = basename(file, ".json");
      for (const [index, [line, row]] of rowsOfJsonArray(file, options.problems).entries()) {
        const setting = { id: `${name}:${index}`, folder: dirname(file) };
        const example = exampleOfRow(row, { file, line }, setting, collector);
        if (example !== undefined) collector.add(splitOfName(name) ?? "train", { file, line }, example);
      }
    }
    return collector.splits;
  },
};
