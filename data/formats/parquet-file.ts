/**
 * One parquet file, row group by row group: words at once, pictures when they are wanted.
 *
 * Source: https://parquet.apache.org/docs/file-format
 */
import { parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { asyncBufferFromFile } from "hyparquet/src/node.js";
import { compressors } from "hyparquet-compressors";
import { z } from "zod";
import type { Media } from "../example.ts";
import { isRow, type Row } from "./text-files.ts";

type File = Awaited<ReturnType<typeof asyncBufferFromFile>>;
type Metadata = Awaited<ReturnType<typeof parquetMetadataAsync>>;

export interface ParquetFile {
  /** Names of the classes behind the numbers in `label`, which the hub keeps in the file's own metadata. */
  readonly classes: readonly string[] | undefined;
  /** Rows in order; columns of media hold Media, lists of Media, or null. Memory: the words of one row group at a time. */
  rows(): AsyncGenerator<Row>;
}

/** @throws what the reader throws for files that are damaged or compressed in an unknown way */
export async function openParquet(path: string): Promise<ParquetFile> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  return { classes: classNamesOf(metadata), rows: () => rowsOf(path, file, metadata) };
}

async function* rowsOf(path: string, file: File, metadata: Metadata): AsyncGenerator<Row> {
  const media = mediaColumnsOf(metadata);
  const words = topColumns(metadata).filter((column) => !media.includes(column));
  let next = 0;
  for (const group of metadata.row_groups) {
    const start = next;
    const count = Number(group.num_rows);
    const read = (columns: string[]): Promise<Row[]> =>
      // hyparquet gives objects of unknown values; what they are is checked where they are used.
      parquetReadObjects({
        file,
        metadata,
        columns,
        rowStart: start,
        rowEnd: start + count,
        utf8: false,
        compressors,
      }) as Promise<Row[]>;
    const rows: Record<string, unknown>[] =
      words.length === 0
        ? Array.from({ length: count }, () => ({}))
        : [...(await read(words))].map((row) => ({ ...row }));
    for (const column of media) {
      const cells = lazyCells(path, start, column, group, read);
      const shapes = cells.sureOfOne ? undefined : await cells.shapes();
      for (const [i, row] of rows.entries()) row[column] = cells.media(i, shapes?.[i] ?? "one");
    }
    yield* rows;
    next += count;
  }
}

/** What a cell holds: nothing, one medium, or a list of so many. */
type Shape = "none" | "one" | number;

/**
 * A column of media in one row group. Where some cells may be empty or lists it is read once to learn that. Reading one
 * medium decodes the whole group; it is kept while memory allows, so that neighbours come for free.
 */
function lazyCells(
  path: string,
  start: number,
  column: string,
  group: Metadata["row_groups"][number],
  read: (columns: string[]) => Promise<Row[]>,
) {
  const leaf = group.columns.find(
    ({ meta_data }) => meta_data?.path_in_schema[0] === column && meta_data.path_in_schema.at(-1) === "bytes",
  )?.meta_data;
  const isList = (leaf?.path_in_schema.length ?? 0) > 2;
  let kept: WeakRef<Row[]> | undefined;
  const values = async (): Promise<Row[]> => {
    const held = kept?.deref();
    if (held !== undefined) return held;
    const rows = await read([column]);
    kept = new WeakRef(rows);
    return rows;
  };
  const medium = (row: number, item: number | undefined): Media => ({
    name: `${path}:${start + row + 1} ${column}${item === undefined ? "" : `[${item}]`}`,
    async read() {
      const cell = (await values())[row]?.[column];
      const one: unknown = item === undefined ? cell : Array.isArray(cell) ? cell[item] : undefined;
      if (isRow(one) && one.bytes instanceof Uint8Array) return one.bytes;
      throw new TypeError(`${this.name} holds no bytes`);
    },
  });
  return {
    sureOfOne: !isList && leaf?.statistics?.null_count === 0n,
    shapes: async (): Promise<Shape[]> =>
      (await values()).map((row) => {
        const cell = row[column];
        if (Array.isArray(cell)) return cell.length;
        return isRow(cell) && cell.bytes instanceof Uint8Array ? "one" : "none";
      }),
    media(row: number, shape: Shape): Media | Media[] | null {
      if (shape === "none") return null;
      return shape === "one"
        ? medium(row, undefined)
        : Array.from({ length: shape }, (_, item) => medium(row, item));
    },
  };
}

function topColumns(metadata: Metadata): string[] {
  const chunks = metadata.row_groups.flatMap((group) => group.columns);
  return [...new Set(chunks.map(({ meta_data }) => meta_data?.path_in_schema[0] ?? ""))];
}

/** Columns with leaves "bytes" and "path". */
function mediaColumnsOf(metadata: Metadata): string[] {
  const paths = (metadata.row_groups[0]?.columns ?? []).map(
    ({ meta_data }) => meta_data?.path_in_schema ?? [],
  );
  const leaf = (column: string, name: string): boolean =>
    paths.some((path) => path[0] === column && path.length > 1 && path.at(-1) === name);
  return topColumns(metadata).filter((column) => leaf(column, "bytes") && leaf(column, "path"));
}

const hubFeatures = z.object({
  info: z.object({ features: z.object({ label: z.object({ names: z.array(z.string()) }) }) }),
});

function classNamesOf(metadata: Metadata): string[] | undefined {
  const text = metadata.key_value_metadata?.find((entry) => entry.key === "huggingface")?.value;
  const parsed = hubFeatures.safeParse(text === undefined ? undefined : JSON.parse(text));
  return parsed.success ? parsed.data.info.features.label.names : undefined;
}
