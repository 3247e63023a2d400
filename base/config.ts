/**
 * Configuration: a YAML file, checked by a zod schema, with `key.path=value` overrides from the command line.
 *
 * All problems of a file come in one error, each with its line and column. Relative paths in a file are
 * relative to the file, wherever the command was started.
 */
import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, resolve } from "node:path";
import type { z } from "zod";
import { type ConfigDocument, configError, type KeyPath, parseConfig } from "./config-document.ts";
import { problemsOf } from "./config-problems.ts";
import { FedloomError, messageOf } from "./errors.ts";

export interface LoadOptions {
  /** `key.path=value` each, as `--set` gives them. */
  readonly overrides?: readonly string[];
  /** Dotted keys that hold file or directory names, such as "fleet.data". */
  readonly paths?: readonly string[];
}

export interface LoadedConfig<T> {
  readonly value: T;
  /** For checks that a schema cannot make: `document.where(["strategy", "name"])` points at the line. */
  readonly document: ConfigDocument;
}

/** @throws FedloomError F1001 with every problem found, F1002 if the file cannot be read */
export async function loadConfig<Schema extends z.ZodType>(
  schema: Schema,
  file: string,
  { overrides = [], paths = [] }: LoadOptions = {},
): Promise<LoadedConfig<z.output<Schema>>> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    const why = missing ? "there is no such file" : messageOf(error);
    throw new FedloomError("F1002", `Cannot read "${file}": ${why}`, { file }, { cause: error });
  }
  const document = parseConfig(file, text, overrides);
  const directory = dirname(resolve(file));
  const data = paths.reduce<unknown>(
    (whole, path) => resolvedIn(whole, path.split("."), directory),
    document.data,
  );
  return { value: checkConfig(schema, { ...document, data }), document };
}

/**
 * Applies a schema to a document, or to the part of it at `at`.
 *
 * @throws FedloomError F1001 with every problem found
 */
export function checkConfig<Schema extends z.ZodType>(
  schema: Schema,
  document: ConfigDocument,
  at: KeyPath = [],
): z.output<Schema> {
  // A cast to read one member of a value already known to be an object.
  const part = at.reduce<unknown>(
    (value, key) => (value as Record<string, unknown> | undefined)?.[key],
    document.data,
  );
  const checked = schema.safeParse(part);
  if (checked.success) return checked.data;
  throw configError(problemsOf(checked.error.issues, document, schema, at));
}

function resolvedIn(whole: unknown, path: readonly string[], directory: string): unknown {
  const [key, ...rest] = path;
  if (key === undefined)
    return typeof whole === "string" && !isAbsolute(whole) ? resolve(directory, whole) : whole;
  if (typeof whole !== "object" || whole === null || !(key in whole)) return whole;
  // A cast to copy one member of a value already known to be an object.
  const members = whole as Record<string, unknown>;
  return { ...members, [key]: resolvedIn(members[key], rest, directory) };
}
