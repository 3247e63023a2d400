/**
 * LLaMA-Factory: dataset_info.json says for each dataset its file, its formatting (alpaca or sharegpt) and the names of
 * columns and tags. All datasets of the directory are read; those on a hub are reported.
 *
 * Source: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { splitOfName } from "../dataset.ts";
import { Collector } from "./collector.ts";
import { type Columns, exampleOfRow } from "./conversation.ts";
import type { DatasetFormat } from "./format.ts";
import { isRow, jsonDocument, type Row, rowsOfJsonArray, rowsOfJsonLines } from "./text-files.ts";

const INFO = "dataset_info.json";

export const llamaFactory: DatasetFormat = {
  name: "llama-factory",
  expects: "dataset_info.json beside the files that it names",
  recognizes: (place) => !place.isFile && place.names.includes(INFO),
  async read(place, options) {
    const collector = new Collector(options);
    const info = join(place.path, INFO);
    const document = jsonDocument(info, options.problems);
    for (const [name, entry] of Object.entries(isRow(document) ? document : {})) {
      const at = { file: info, line: undefined };
      if (!isRow(entry) || typeof entry.file_name !== "string") {
        collector.problem(at, `dataset "${name}" must name a local file ("file_name")`);
        continue;
      }
      const file = join(place.path, entry.file_name);
      if (!existsSync(file)) {
        collector.problem(at, `dataset "${name}" names ${entry.file_name}, which is not there`);
        continue;
      }
      const columns = columnsOf(entry);
      const split = splitOfName(name) ?? splitOfName(entry.file_name) ?? "train";
      let index = 0;
      const add = (line: number, row: Row): void => {
        const setting = { id: `${name}:${index++}`, folder: place.path, columns };
        const example = exampleOfRow(row, { file, line }, setting, collector);
        if (example !== undefined) collector.add(split, { file, line }, example);
      };
      if (file.endsWith(".jsonl")) {
        for await (const [line, row] of rowsOfJsonLines(file, options.problems)) add(line, row);
      } else for (const [line, row] of rowsOfJsonArray(file, options.problems)) add(line, row);
    }
    return collector.splits;
  },
};

function columnsOf(entry: Row): Columns {
  const columns = isRow(entry.columns) ? entry.columns : {};
  const tags = isRow(entry.tags) ? entry.tags : {};
  const names: Record<string, unknown> = {
    messages: columns.messages,
    images: columns.images,
    audios: columns.audios,
    prompt: columns.prompt,
    query: columns.query,
    response: columns.response,
    system: columns.system,
    roleTag: tags.role_tag,
    contentTag: tags.content_tag,
    userTag: tags.user_tag,
    assistantTag: tags.assistant_tag,
    systemTag: tags.system_tag,
  };
  return Object.fromEntries(Object.entries(names).filter(([, name]) => typeof name === "string"));
}
