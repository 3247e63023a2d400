/** Gathers examples while a file is read, and checks what holds for all formats: ids, media, marks, turns. */
import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Split, Splits } from "../dataset.ts";
import { type Example, MARK, type Media } from "../example.ts";
import { bytesMedia, dataUrlMedia, fileMedia } from "../media.ts";
import type { ReadOptions } from "./format.ts";
import { isRow, kindOf } from "./text-files.ts";

/** Where a row stands, for messages. */
export interface RowPlace {
  readonly file: string;
  readonly line: number | undefined;
}

export class Collector {
  readonly splits: Splits = new Map();
  readonly #options: ReadOptions;
  readonly #places = new Map<string, string>();

  constructor(options: ReadOptions) {
    this.#options = options;
  }

  problem(place: RowPlace, message: string, code?: "F2001" | "F2003" | "F2004"): void {
    this.#options.problems.add(place.file, place.line, message, code);
  }

  /** Takes the example in, or reports why not. */
  add(split: Split, place: RowPlace, example: Example): void {
    const at = place.line === undefined ? place.file : `${place.file}:${place.line}`;
    const earlier = this.#places.get(example.id);
    if (earlier !== undefined) {
      this.problem(place, `the id "${example.id}" is taken: ${earlier} has it`, "F2004");
      return;
    }
    const wrong = wrongWith(example);
    if (wrong !== undefined) {
      this.problem(place, wrong);
      return;
    }
    this.#places.set(example.id, at);
    const examples = this.splits.get(split) ?? [];
    examples.push(example);
    this.splits.set(split, examples);
  }

  /**
   * A medium as rows name it: a path relative to `folder`, a data URL, {path, bytes}, or one a reader made.
   *
   * @returns undefined with a problem reported where it cannot be used
   */
  media(place: RowPlace, folder: string, value: unknown): Media | undefined {
    if (isMedia(value)) return value;
    if (isRow(value)) {
      if (value.bytes instanceof Uint8Array) {
        return bytesMedia(
          typeof value.path === "string" ? value.path : `${place.file}:${place.line}`,
          value.bytes,
        );
      }
      const inner = value.path ?? value.url ?? value.image ?? value.audio;
      if (inner !== undefined) return this.media(place, folder, inner);
    }
    if (typeof value !== "string" || value === "") {
      this.problem(place, `a medium must be a path, a data URL or {path, bytes}, got ${kindOf(value)}`);
      return undefined;
    }
    if (value.startsWith("data:")) {
      const inline = dataUrlMedia(`${place.file}:${place.line}`, value);
      if (inline === undefined) this.problem(place, "a data URL must be base64");
      return inline;
    }
    if (/^https?:/.test(value)) {
      this.problem(place, `media must lie on this machine, got the address ${value}`, "F2003");
      return undefined;
    }
    const path = value.startsWith("file:")
      ? fileURLToPath(value)
      : isAbsolute(value)
        ? value
        : join(folder, value);
    if (this.#options.checkMedia && !existsSync(path)) {
      this.problem(place, `"${value}" is not there (looked for ${path})`, "F2003");
      return undefined;
    }
    return fileMedia(path);
  }
}

function isMedia(value: unknown): value is Media {
  return isRow(value) && typeof value.read === "function" && typeof value.name === "string";
}

function wrongWith(example: Example): string | undefined {
  const users = example.turns.filter((turn) => turn.role === "user");
  if (users.length === 0) return "a conversation needs a user turn";
  if (example.turns.at(-1)!.role !== "assistant") {
    return `the last turn must be the assistant's, got ${example.turns.at(-1)!.role}`;
  }
  for (const kind of ["image", "audio"] as const) {
    const marks = users.reduce((sum, turn) => sum + turn.content.split(MARK[kind]).length - 1, 0);
    const media = kind === "image" ? example.images.length : example.audios.length;
    if (marks > media) return `${marks} marks "${MARK[kind]}" want as many media, got ${media}`;
  }
  return undefined;
}
