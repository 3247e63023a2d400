/** Rows of published files with their places, as the benchmark's Python scripts see them. */
import { readFileSync } from "node:fs";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { readTable } from "../python/csv.ts";
import { isPyObject, type PyObject, type PyValue, parsePythonJson } from "../python/json.ts";

export interface PublishedRow {
  readonly file: string;
  readonly line: number;
  readonly members: PyObject;
}

function refuse(file: string, line: number | undefined, message: string, cause?: unknown): never {
  const place = line === undefined ? file : `${file}:${line}`;
  throw new FedloomError("F2001", `${place}: ${message}`, { file, line }, { cause });
}

function parsed(text: string, file: string, line: number | undefined): PyValue {
  try {
    return parsePythonJson(text);
  } catch (cause) {
    return refuse(file, line, messageOf(cause), cause);
  }
}

/** @throws FedloomError F2001 with the row's place */
export function refuseRow(row: PublishedRow, message: string): never {
  return refuse(row.file, row.line, message);
}

/** One JSON object a line; line ends as Python's universal newlines. @throws FedloomError F2001 */
export function readJsonLineRows(file: string): PublishedRow[] {
  const lines = readFileSync(file, "utf8").split(/\r\n|\r|\n/);
  if (lines.at(-1) === "") lines.pop();
  return lines.map((text, i) => {
    const members = parsed(text, file, i + 1);
    if (!isPyObject(members)) return refuse(file, i + 1, "a line must be a JSON object");
    return { file, line: i + 1, members };
  });
}

/** A JSON array of objects; a row's line is its number in the array, from 1. @throws FedloomError F2001 */
export function readJsonArrayRows(file: string): PublishedRow[] {
  const items = parsed(readFileSync(file, "utf8"), file, undefined);
  if (!Array.isArray(items)) return refuse(file, undefined, "the file must be a JSON array of objects");
  return items.map((members, i) => {
    if (!isPyObject(members)) return refuse(file, undefined, `item ${i + 1} must be a JSON object`);
    return { file, line: i + 1, members };
  });
}

/** A tab-separated table with a header. */
export function readTableRows(file: string): PublishedRow[] {
  return readTable(readFileSync(file, "utf8")).map(({ line, members }) => ({ file, line, members }));
}

/** A member that must be there. @throws FedloomError F2001 */
export function member(row: PublishedRow, key: string): PyValue {
  const value = row.members.get(key);
  if (value === undefined) {
    const keys = [...row.members.keys()].join(", ");
    return refuse(row.file, row.line, `the row lacks "${key}", it has ${keys || "nothing"}`);
  }
  return value;
}

/** A member that must be text. @throws FedloomError F2001 */
export function textMember(row: PublishedRow, key: string): string {
  const value = member(row, key);
  if (typeof value !== "string")
    return refuse(row.file, row.line, `"${key}" must be text, got ${kind(value)}`);
  return value;
}

function kind(value: PyValue): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return isPyObject(value) ? "an object" : typeof value === "bigint" ? "an integer" : `a ${typeof value}`;
}
