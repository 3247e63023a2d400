/**
 * JSON lines of conversations, as TRL and ms-swift read them: one file a split (train.jsonl, dev.jsonl,
 * held-out.jsonl, ...; a file with no such word in its name is training data), media paths relative to the file.
 *
 * Sources: https://huggingface.co/docs/trl/dataset_formats,
 * https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html
 */
import { basename, dirname } from "node:path";
import { splitOfName } from "../dataset.ts";
import { Collector } from "./collector.ts";
import { exampleOfRow, looksLikeConversation } from "./conversation.ts";
import { type DatasetFormat, filesEnding, type Place } from "./format.ts";
import { firstJsonLine, rowsOfJsonLines } from "./text-files.ts";

/** metadata.jsonl belongs to an imagefolder. */
const conversationFiles = (place: Place): string[] =>
  filesEnding(place, ".jsonl").filter((path) => basename(path) !== "metadata.jsonl");

export const messages: DatasetFormat = {
  name: "messages",
  expects: 'train.jsonl (and held-out.jsonl) of lines {"messages": [{"role", "content"}], "images": [paths]}',
  recognizes: (place) =>
    conversationFiles(place).some((path) => {
      const row = firstJsonLine(path);
      return row !== undefined && looksLikeConversation(row);
    }),
  async read(place, options) {
    const collector = new Collector(options);
    for (const file of conversationFiles(place)) {
      const name = basename(file, ".jsonl");
      for await (const [line, row] of rowsOfJsonLines(file, options.problems)) {
        const setting = { id: `${name}:${line}`, folder: dirname(file) };
        const example = exampleOfRow(row, { file, line }, setting, collector);
        if (example !== undefined) collector.add(splitOfName(name) ?? "train", { file, line }, example);
      }
    }
    return collector.splits;
  },
};
