/** Rows of published files with their places, as the benchmark's Python scripts see them. */
import { readFileSync } from "node:fs";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { readTable } from "../python/csv.ts";
import { isPyObject, type PyObject, type PyValue, parsePythonJson, pythonStr } from "../python/json.ts";
import { linesOfItems } from "./text-files.ts";

export interface PublishedRow {
  readonly file: string;
  /** Line of the file at which the row begins, from 1. */
  readonly line: number;
  /** Number of the row, from 0. */
  readonly index: number;
  readonly members: PyObject;
}

/** What is done with a row that cannot be read: by default it is thrown as F2001. */
export type OnBadRow = (file: string, line: number | undefined, message: string) => void;

const throwIt: OnBadRow = (file, line, message) => {
  const place = line === undefined ? file : `${file}:${line}`;
  throw new FedloomError("F2001", `${place}: ${message}`, { file, line, reason: message });
};

/** @throws FedloomError F2001 with the row's place */
export function refuseRow(row: PublishedRow, message: string): never {
  throw new FedloomError("F2001", `${row.file}:${row.line}: ${message}`, {
    file: row.file,
    line: row.line,
    reason: message,
  });
}

/** One JSON object a line; line ends as Python's universal newlines. */
export function readJsonLineRows(file: string, onBad: OnBadRow = throwIt): PublishedRow[] {
  const lines = readFileSync(file, "utf8").split(/\r\n|\r|\n/);
  if (lines.at(-1) === "") lines.pop();
  const rows: PublishedRow[] = [];
  for (const [index, text] of lines.entries()) {
    const members = parsed(text, file, index + 1, onBad);
    if (isPyObject(members)) rows.push({ file, line: index + 1, index, members });
    else if (members !== undefined) onBad(file, index + 1, "a line must be a JSON object");
  }
  return rows;
}

/** A JSON array of objects. */
export function readJsonArrayRows(file: string, onBad: OnBadRow = throwIt): PublishedRow[] {
  const text = readFileSync(file, "utf8");
  const items = parsed(text, file, undefined, onBad);
  if (items === undefined) return [];
  if (!Array.isArray(items)) {
    onBad(file, undefined, "the file must be a JSON array of objects");
    return [];
  }
  const lines = linesOfItems(text);
  const rows: PublishedRow[] = [];
  for (const [index, members] of items.entries()) {
    if (isPyObject(members)) rows.push({ file, line: lines[index]!, index, members });
    else onBad(file, lines[index], "an item must be a JSON object");
  }
  return rows;
}

/** A tab-separated table with a header. */
export function readTableRows(file: string): PublishedRow[] {
  return readTable(readFileSync(file, "utf8")).map((row, index) => ({ file, index, ...row }));
}

function parsed(text: string, file: string, line: number | undefined, onBad: OnBadRow): PyValue | undefined {
  try {
    return parsePythonJson(text);
  } catch (error) {
    onBad(file, line, messageOf(error));
    return undefined;
  }
}

/** A member that must be there. @throws FedloomError F2001 */
export function member(row: PublishedRow, key: string): PyValue {
  const value = row.members.get(key);
  if (value !== undefined) return value;
  const keys = [...row.members.keys()].join(", ");
  return refuseRow(row, `the row lacks "${key}", it has ${keys || "nothing"}`);
}

/** A member that must be text. @throws FedloomError F2001 */
export function textMember(row: PublishedRow, key: string): string {
  const value = member(row, key);
  return typeof value === "string" ? value : refuseRow(row, `"${key}" must be text, got ${kind(value)}`);
}

/** Python's str() of a member that is no list or object. @throws FedloomError F2001 */
export function plainText(row: PublishedRow, key: string): string {
  return pythonStr(member(row, key)) ?? refuseRow(row, `"${key}" must be text or a number`);
}

function kind(value: PyValue): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return isPyObject(value) ? "an object" : typeof value === "bigint" ? "an integer" : `a ${typeof value}`;
}
