/** A JSON file of a model directory, parsed by a schema that ignores what it does not know. */
import { readFile } from "node:fs/promises";
import type { z } from "zod";
import { FedloomError, messageOf } from "../../base/errors.ts";

/** @throws FedloomError F2101 where the file is missing, F2134 where it does not hold what the schema wants */
export async function readJson<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Promise<z.output<Schema>> {
  const found = await readJsonIfPresent(path, schema);
  if (found === undefined)
    throw new FedloomError("F2101", `Cannot use the model: "${path}" is missing`, { path });
  return found;
}

/** @returns undefined where there is no such file */
export async function readJsonIfPresent<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Promise<z.output<Schema> | undefined> {
  const text = await readTextIfPresent(path);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FedloomError(
      "F2134",
      `Cannot read "${path}": it is no JSON: ${messageOf(cause)}`,
      { path },
      { cause },
    );
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new FedloomError("F2134", `Cannot read "${path}": at "${issue?.path.join(".")}": ${issue?.message}`, {
    path,
    at: issue?.path,
  });
}

export async function readTextIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    // ENOENT is the answer "absent"; anything else is a fault of the disk.
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new FedloomError("F2101", `Cannot read "${path}": ${messageOf(cause)}`, { path }, { cause });
  }
}
