/**
 * Folders of parquet as the Hugging Face hub keeps datasets: <split>-00000-of-0000N.parquet, at the top or in data/.
 * An image or audio column is a struct {bytes, path} or a list of such; its bytes are read when a trainer wants them.
 *
 * A row is a conversation (conversation.ts) or a picture with `text` or `label`. Files compressed with anything but
 * snappy or nothing are refused by the reader.
 *
 * Source: https://huggingface.co/docs/hub/datasets-image#parquet-format
 */
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { asyncBufferFromFile } from "hyparquet/src/node.js";
import { z } from "zod";
import { messageOf } from "../../base/errors.ts";
import { splitOfName } from "../dataset.ts";
import type { Media } from "../example.ts";
import { Collector } from "./collector.ts";
import { exampleOfRow, looksLikeConversation } from "./conversation.ts";
import { type DatasetFormat, filesEnding, type Place, placeAt, type ReadOptions } from "./format.ts";
import { exampleOfPicture } from "./picture-row.ts";
import { isRow, type Row } from "./text-files.ts";

function filesOf(place: Place): string[] {
  const top = filesEnding(place, ".parquet");
  const below = place.isFile ? undefined : placeAt(join(place.path, "data"));
  return top.length > 0 || below === undefined || below.isFile ? top : filesEnding(below, ".parquet");
}

export const parquet: DatasetFormat = {
  name: "parquet",
  expects: "<split>-00000-of-0000N.parquet, at the top or in data/",
  recognizes: (place) => (place.isFile || existsSync(place.path)) && filesOf(place).length > 0,
  async read(place, options) {
    const collector = new Collector(options);
    for (const path of filesOf(place)) await readFile(path, collector, options);
    return collector.splits;
  },
};

type Buffer = Awaited<ReturnType<typeof asyncBufferFromFile>>;
type Metadata = Awaited<ReturnType<typeof parquetMetadataAsync>>;

async function readFile(path: string, collector: Collector, options: ReadOptions): Promise<void> {
  const name = basename(path, ".parquet");
  const split = splitOfName(name) ?? "train";
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const mediaColumns = mediaColumnsOf(metadata);
    const columns = topColumns(metadata).filter((column) => !mediaColumns.has(column));
    const classes = classNamesOf(metadata);
    let start = 0;
    for (const group of metadata.row_groups) {
      const rows = Number(group.num_rows);
      const read = groupReader(file, metadata, start, rows, path);
      const texts = await read.rows(columns);
      // Lists of media must be counted; single ones stay unread.
      const lists = [...mediaColumns].filter(([, isList]) => isList).map(([column]) => column);
      const counts = lists.length === 0 ? [] : await read.counts(lists);
      for (const [i, row] of texts.entries()) {
        const media: Record<string, Media | Media[]> = {};
        for (const [column, isList] of mediaColumns) {
          media[column] = isList
            ? Array.from({ length: counts[i]![column]! }, (_, item) => read.medium(i, column, item))
            : read.medium(i, column, undefined);
        }
        const at = { file: path, line: start + i + 1 };
        const whole = { ...row, ...media };
        const setting = { id: `${name}:${start + i}`, folder: place(path) };
        const example = looksLikeConversation(whole)
          ? exampleOfRow(whole, at, setting, collector)
          : exampleOfPicture(whole, at, setting, collector, classes);
        if (example !== undefined) collector.add(split, at, example);
      }
      start += rows;
    }
  } catch (error) {
    options.problems.add(path, undefined, messageOf(error));
  }
}

const place = (path: string): string => join(path, "..");

function topColumns(metadata: Metadata): string[] {
  return [
    ...new Set(
      metadata.row_groups.flatMap((group) => group.columns.map((c) => c.meta_data?.path_in_schema[0] ?? "")),
    ),
  ];
}

/** Names of the classes behind the numbers in `label`, which the hub keeps in the file's own metadata. */
function classNamesOf(metadata: Metadata): string[] | undefined {
  const text = metadata.key_value_metadata?.find((entry) => entry.key === "huggingface")?.value;
  const parsed = hubFeatures.safeParse(text === undefined ? undefined : JSON.parse(text));
  return parsed.success ? parsed.data.info.features.label.names : undefined;
}

const hubFeatures = z.object({
  info: z.object({ features: z.object({ label: z.object({ names: z.array(z.string()) }) }) }),
});

/** Columns with leaves "bytes" and "path", and whether they are lists. */
function mediaColumnsOf(metadata: Metadata): Map<string, boolean> {
  const paths = (metadata.row_groups[0]?.columns ?? []).map(
    (column) => column.meta_data?.path_in_schema ?? [],
  );
  const leaf = (column: string, name: string): boolean =>
    paths.some((path) => path[0] === column && path.length > 1 && path.at(-1) === name);
  const found = topColumns(metadata).filter((column) => leaf(column, "bytes") && leaf(column, "path"));
  return new Map(
    found.map((column) => [column, paths.some((path) => path[0] === column && path.length > 2)]),
  );
}

/** Reads one row group; holds its media while they are read one after another, and lets them go with the next group. */
function groupReader(file: Buffer, metadata: Metadata, start: number, rows: number, path: string) {
  const readRows = async (columns: string[]): Promise<Row[]> =>
    columns.length === 0
      ? Array.from({ length: rows }, () => ({}))
      : ((await parquetReadObjects({
          file,
          metadata,
          columns,
          rowStart: start,
          rowEnd: start + rows,
          utf8: false,
        })) as Row[]);
  let held: { column: string; rows: WeakRef<Row[]> } | undefined;
  const group = async (column: string): Promise<Row[]> => {
    const kept = held?.column === column ? held.rows.deref() : undefined;
    if (kept !== undefined) return kept;
    const read = await readRows([column]);
    held = { column, rows: new WeakRef(read) };
    return read;
  };
  return {
    rows: readRows,
    async counts(columns: string[]): Promise<Record<string, number>[]> {
      const read = await readRows(columns);
      return read.map((row) =>
        Object.fromEntries(
          columns.map((column) => [column, Array.isArray(row[column]) ? row[column].length : 0]),
        ),
      );
    },
    medium(row: number, column: string, item: number | undefined): Media {
      return {
        name: `${path}:${start + row + 1} ${column}${item === undefined ? "" : `[${item}]`}`,
        async read() {
          const value = (await group(column))[row]?.[column];
          const one: unknown = item === undefined ? value : Array.isArray(value) ? value[item] : undefined;
          if (isRow(one) && one.bytes instanceof Uint8Array) return one.bytes;
          throw new TypeError(`${path}:${start + row + 1} has no bytes in column "${column}"`);
        },
      };
    },
  };
}
