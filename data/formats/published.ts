/** What the readers of published benchmark files share: finding the files, and rows to examples. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { FedloomError } from "../../base/errors.ts";
import type { Split } from "../dataset.ts";
import type { Example } from "../example.ts";
import type { Collector } from "./collector.ts";
import type { Place } from "./format.ts";
import type { OnBadRow, PublishedRow } from "./published-rows.ts";

/**
 * The folder below `root` that holds `file`: the root itself, its raw_data, or the dataset's own folder with or
 * without raw_data, as the benchmark's authors lay their data out.
 */
export function folderHolding(root: string, file: string, own: string): string | undefined {
  return ["", "raw_data", own, join(own, "raw_data")]
    .map((below) => join(root, below))
    .find((folder) => existsSync(join(folder, file)));
}

/** @throws FedloomError F2002 that says which file is wanted where */
export function requireFolder(format: string, root: string, file: string, own: string): string {
  const folder = folderHolding(root, file, own);
  if (folder !== undefined) return folder;
  throw new FedloomError(
    "F2002",
    `Cannot read the ${format} dataset ${root}: "${file}" is expected there, or below ${own}/ or raw_data/`,
    { root, file },
  );
}

/** Whether a directory holds the file, or its raw_data does. */
export function holds(place: Place, file: string): boolean {
  return (
    !place.isFile && (existsSync(join(place.path, file)) || existsSync(join(place.path, "raw_data", file)))
  );
}

export function problemsInto(collector: Collector): OnBadRow {
  return (file, line, message) => collector.problem({ file, line }, message);
}

/** Adds the rows' examples; a row that `build` refuses becomes a problem. `build` gives undefined for rows to pass over. */
export function addRows(
  collector: Collector,
  split: Split,
  rows: readonly PublishedRow[],
  build: (row: PublishedRow) => Example | undefined,
): void {
  for (const row of rows) {
    try {
      const example = build(row);
      if (example !== undefined) collector.add(split, row, example);
    } catch (error) {
      if (!(error instanceof FedloomError) || typeof error.details.reason !== "string") throw error;
      collector.problem(row, error.details.reason);
    }
  }
}
