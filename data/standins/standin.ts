/**
 * What a stand-in is: a small drawn dataset in the file format of a published one, so that it goes through the same
 * loaders, partitions and metrics. It shares the form of the original's task and nothing of its content.
 */
import type { Rng } from "../../base/rng.ts";
import type { Scan, Scene } from "../scenes/scene.ts";

export interface StandinPicture {
  /** Path below the dataset's folder. */
  readonly path: string;
  readonly picture: Scan | Scene;
}

export interface StandinFiles {
  readonly pictures: readonly StandinPicture[];
  /** Text of each file by its path below the dataset's folder. */
  readonly texts: Readonly<Record<string, string>>;
}

export interface StandinSize {
  readonly train: number;
  readonly test: number;
}

export interface Standin {
  readonly name: string;
  /** Format that data/formats reads it as. */
  readonly format: string;
  /** Folder below the output directory, as the published scripts expect it. */
  readonly folder: string;
  readonly sizes: Readonly<Record<Profile, StandinSize>>;
  /** One paragraph for the card: the task, and what makes it hard by construction. */
  readonly about: string;
  draw(size: StandinSize, rng: Rng): StandinFiles;
}

/** How much is drawn: to see it work, to measure, or as many examples as the original has. */
export const PROFILES = ["quick", "standard", "full"] as const;
export type Profile = (typeof PROFILES)[number];

export const jsonLines = (rows: readonly object[]): string =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join("");

/** As Python's json.dump with an indent of 1 or 4 writes it, but for escapes. */
export const jsonArray = (rows: readonly object[]): string => `${JSON.stringify(rows, null, 1)}\n`;
