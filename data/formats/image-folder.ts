/**
 * Hugging Face's imagefolder: pictures with metadata.jsonl or metadata.csv ("file_name" and further columns), at the top or
 * in a folder a split; or, without metadata, one folder a class.
 *
 * Source: https://huggingface.co/docs/datasets/image_dataset#imagefolder
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { type Split, splitOfName } from "../dataset.ts";
import { readTable } from "../python/csv.ts";
import { Collector } from "./collector.ts";
import { exampleOfRow, looksLikeConversation } from "./conversation.ts";
import type { DatasetFormat, Place } from "./format.ts";
import { exampleOfPicture } from "./picture-row.ts";
import { type Row, rowsOfJsonLines } from "./text-files.ts";

const METADATA = ["metadata.jsonl", "metadata.csv"];
const PICTURE = /\.(png|jpe?g|webp|gif|bmp|tiff?)$/i;

/** Folders that hold a split each, or the place itself. */
function splitFolders(place: Place): [folder: string, split: Split][] {
  const named = place.names
    .filter((name) => splitOfName(name) !== undefined && statSync(join(place.path, name)).isDirectory())
    .map((name): [string, Split] => [join(place.path, name), splitOfName(name)!]);
  return named.length > 0 ? named : [[place.path, "train"]];
}

function classesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(
      (entry) =>
        entry.isDirectory() && readdirSync(join(folder, entry.name)).some((name) => PICTURE.test(name)),
    )
    .map((entry) => entry.name)
    .sort();
}

export const imageFolder: DatasetFormat = {
  name: "image-folder",
  expects: "pictures with metadata.jsonl (file_name, ...), or one folder of pictures a class",
  recognizes: (place) =>
    !place.isFile &&
    splitFolders(place).some(
      ([folder]) => METADATA.some((name) => existsSync(join(folder, name))) || classesIn(folder).length > 1,
    ),
  async read(place, options) {
    const collector = new Collector(options);
    for (const [folder, split] of splitFolders(place)) {
      const metadata = METADATA.map((name) => join(folder, name)).find((path) => existsSync(path));
      if (metadata === undefined) {
        addClasses(place, folder, split, collector);
        continue;
      }
      const rows: AsyncIterable<readonly [number, Row]> | [number, Row][] = metadata.endsWith(".jsonl")
        ? rowsOfJsonLines(metadata, options.problems)
        : await rowsOfCsv(metadata);
      for await (const [line, row] of rows) {
        const at = { file: metadata, line };
        const setting = { id: `${relative(place.path, metadata)}:${line}`, folder };
        const whole = { ...row, image: row.image ?? row.file_name };
        const example = looksLikeConversation(whole)
          ? exampleOfRow(whole, at, setting, collector)
          : exampleOfPicture(whole, at, setting, collector, undefined);
        if (example !== undefined) collector.add(split, at, example);
      }
    }
    return collector.splits;
  },
};

function addClasses(place: Place, folder: string, split: Split, collector: Collector): void {
  const classes = classesIn(folder);
  for (const [label, name] of classes.entries()) {
    for (const file of readdirSync(join(folder, name))
      .filter((one) => PICTURE.test(one))
      .sort()) {
      const path = join(folder, name, file);
      const at = { file: path, line: undefined };
      const setting = { id: relative(place.path, path), folder };
      const example = exampleOfPicture({ image: path, label }, at, setting, collector, classes);
      if (example !== undefined) collector.add(split, at, example);
    }
  }
}

async function rowsOfCsv(path: string): Promise<[number, Row][]> {
  const rows = readTable(await readFile(path, "utf8"), ",");
  return rows.map(({ line, members }) => [line, Object.fromEntries(members)]);
}
