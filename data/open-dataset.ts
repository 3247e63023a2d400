/** Opens a dataset on disk: recognizes its format, reads rows, keeps media where they are. */
import { join, resolve } from "node:path";
import { FedloomError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import { type Dataset, ProblemLog, problemText } from "./dataset.ts";
import { type DatasetFormat, type Place, placeAt } from "./formats/format.ts";
import { DATASET_FORMATS } from "./formats/index.ts";

export interface OpenOptions {
  /** A name of data/formats/index.ts; recognized where absent. */
  readonly format?: string;
  /** Look whether media files are there; true unless only names matter. */
  readonly checkMedia?: boolean;
  /** "throw" (the default) refuses the dataset at its first problem; "collect" leaves bad rows out and lists them. */
  readonly onProblem?: "throw" | "collect";
}

/**
 * @throws FedloomError F2002 where there is no dataset; the first problem's code where rows are bad and
 * `onProblem` is not "collect"
 */
export async function openDataset(path: string, options: OpenOptions = {}): Promise<Dataset> {
  const root = resolve(path);
  const place = placeAt(root);
  if (place === undefined) {
    throw new FedloomError("F2002", `Cannot open the dataset ${path}: no such file or directory`, { path });
  }
  const format = options.format === undefined ? recognize(place, path) : formatNamed(options.format);
  const log = new ProblemLog();
  const splits = await format.read(place, { checkMedia: options.checkMedia ?? true, problems: log });
  const first = log.problems[0];
  if (first !== undefined && options.onProblem !== "collect") {
    const more = log.problems.length - 1;
    throw new FedloomError(
      first.code,
      `Cannot read the ${format.name} dataset ${path}: ${problemText(first)}${more > 0 ? ` (and ${more} more; "fedloom data inspect" lists them)` : ""}`,
      { problems: log.problems.length, file: first.file, line: first.line },
    );
  }
  return { format: format.name, root, splits, problems: log.problems };
}

/** @throws FedloomError F2005 with the known names */
export function formatNamed(name: string): DatasetFormat {
  const format = DATASET_FORMATS.find((known) => known.name === name);
  if (format !== undefined) return format;
  const names = DATASET_FORMATS.map((known) => known.name);
  const near = nearest(name, names);
  throw new FedloomError(
    "F2005",
    `Cannot read datasets of format "${name}": ${near === undefined ? "" : `did you mean "${near}"? `}known are ${names.join(", ")}`,
    { name },
  );
}

function recognize(place: Place, path: string): DatasetFormat {
  const format = DATASET_FORMATS.find((known) => known.recognizes(place));
  if (format !== undefined) return format;
  const expected = DATASET_FORMATS.map((known) => `  ${known.name}: ${known.expects}`).join("\n");
  const below = datasetsBelow(place);
  if (below.length > 0) {
    throw new FedloomError(
      "F2002",
      `Cannot open the dataset ${path}: it holds several; open one of ${below.join(", ")}`,
      {
        path,
        below,
      },
    );
  }
  const found = place.names.slice(0, 8).join(", ") + (place.names.length > 8 ? ", ..." : "");
  throw new FedloomError(
    "F2002",
    `Cannot recognize the dataset ${path}: it holds ${found || "nothing"}; wanted is one of\n${expected}`,
    { path },
  );
}

/** Directories right below that are datasets, with their formats. */
function datasetsBelow(place: Place): string[] {
  if (place.isFile) return [];
  return place.names.flatMap((name) => {
    const inner = placeAt(join(place.path, name));
    const format =
      inner?.isFile === false ? DATASET_FORMATS.find((known) => known.recognizes(inner)) : undefined;
    return format === undefined ? [] : [`${name} (${format.name})`];
  });
}
