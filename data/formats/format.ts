/** What a dataset format is: a value that recognizes a place on disk and reads it. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ProblemLog, Splits } from "../dataset.ts";

/** A directory, or a single file, with the names at its top. */
export interface Place {
  readonly path: string;
  readonly isFile: boolean;
  /** Names in the directory, sorted; for a file its own name. */
  readonly names: readonly string[];
}

export interface ReadOptions {
  /** Look whether each image and audio file is there; partitions need only their names. */
  readonly checkMedia: boolean;
  readonly problems: ProblemLog;
}

export interface DatasetFormat {
  readonly name: string;
  /** Files it is made of, for people. */
  readonly expects: string;
  /** Cheap: names of files, at most the head of one. */
  recognizes(place: Place): boolean;
  read(place: Place, options: ReadOptions): Promise<Splits>;
}

export function placeAt(path: string): Place | undefined {
  if (!existsSync(path)) return undefined;
  if (statSync(path).isFile()) return { path, isFile: true, names: [path.split(/[\\/]/).at(-1)!] };
  return { path, isFile: false, names: readdirSync(path).sort() };
}

/** Paths of the place's files with one of these endings. */
export function filesEnding(place: Place, ...endings: readonly string[]): string[] {
  return place.names
    .filter((name) => endings.some((ending) => name.toLowerCase().endsWith(ending)))
    .map((name) => (place.isFile ? place.path : join(place.path, name)));
}
