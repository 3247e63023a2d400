/** Reading lines and JSON documents with the place of what is wrong. */
import { closeSync, createReadStream, openSync, readFileSync, readSync, statSync } from "node:fs";
import { messageOf } from "../../base/errors.ts";
import type { ProblemLog } from "../dataset.ts";

export type Row = Readonly<Record<string, unknown>>;

export function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Longest line that is read: a conversation with an inline picture of 32 MiB in base64. */
const MAX_LINE_BYTES = 48 * 2 ** 20;

/**
 * Lines with their numbers, cut at line feeds only. Node's readline cuts at U+2028 too, which JSON strings
 * may hold as it is.
 */
export async function* linesOf(path: string): AsyncGenerator<readonly [line: number, text: string]> {
  let line = 0;
  let parts: Buffer[] = [];
  let held = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 18 }) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      parts.push(chunk.subarray(from, at));
      yield [++line, Buffer.concat(parts).toString("utf8")];
      parts = [];
      held = 0;
      from = at + 1;
    }
    if (from < chunk.length) {
      parts.push(chunk.subarray(from));
      held += chunk.length - from;
      if (held > MAX_LINE_BYTES)
        throw new RangeError(`${path}:${line + 1} is longer than ${MAX_LINE_BYTES} bytes`);
    }
  }
  if (parts.length > 0) yield [++line, Buffer.concat(parts).toString("utf8")];
}

/** Objects of a JSON-lines file; blank lines are passed over, others that are no object are reported. */
export async function* rowsOfJsonLines(
  path: string,
  problems: ProblemLog,
): AsyncGenerator<readonly [line: number, row: Row]> {
  for await (const [line, text] of linesOf(path)) {
    if (text.trim() === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(line === 1 ? text.replace(/^\uFEFF/, "") : text);
    } catch (error) {
      problems.add(path, line, `a line must be a JSON object: ${messageOf(error)}`);
      continue;
    }
    if (isRow(value)) yield [line, value];
    else problems.add(path, line, `a line must be a JSON object, got ${kindOf(value)}`);
  }
}

/** Largest JSON document that is read: V8's strings end at 512 MiB. Rows in JSON lines have no such limit. */
const MAX_DOCUMENT_BYTES = 500 * 2 ** 20;

/** A whole file's text without its byte order mark, or undefined with a problem reported. */
function wholeText(path: string, problems: ProblemLog): string | undefined {
  const { size } = statSync(path);
  if (size <= MAX_DOCUMENT_BYTES) return readFileSync(path, "utf8").replace(/^\uFEFF/, "");
  const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  problems.add(
    path,
    undefined,
    `a JSON document may have ${mib(MAX_DOCUMENT_BYTES)}, got ${mib(size)}; write it as JSON lines`,
  );
  return undefined;
}

/** A whole JSON document, or undefined with a problem reported. */
export function jsonDocument(path: string, problems: ProblemLog): unknown {
  const text = wholeText(path, problems);
  return text === undefined ? undefined : parseDocument(text, path, problems);
}

function parseDocument(text: string, path: string, problems: ProblemLog): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const position = /position (\d+)/.exec(messageOf(error));
    const line = position === null ? undefined : text.slice(0, Number(position[1])).split("\n").length;
    problems.add(path, line, `the file must be JSON: ${messageOf(error)}`);
    return undefined;
  }
}

/** Objects of a JSON array, with the line each begins at (found by a scan over brackets and strings). */
export function rowsOfJsonArray(path: string, problems: ProblemLog): [line: number, row: Row][] {
  const text = wholeText(path, problems);
  const document = text === undefined ? undefined : parseDocument(text, path, problems);
  if (text === undefined || document === undefined) return [];
  if (!Array.isArray(document)) {
    problems.add(path, undefined, `the file must be a JSON array of objects, got ${kindOf(document)}`);
    return [];
  }
  const lines = linesOfItems(text);
  const rows: [number, Row][] = [];
  document.forEach((value: unknown, index) => {
    if (isRow(value)) rows.push([lines[index]!, value]);
    else problems.add(path, lines[index], `an item must be a JSON object, got ${kindOf(value)}`);
  });
  return rows;
}

/** The line at which each item of a top-level array begins; the text is known to be JSON. */
export function linesOfItems(text: string): number[] {
  const starts: number[] = [];
  let line = 1;
  let depth = 0;
  let wanted = true;
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === "\n") line++;
    if (char === " " || char === "\n" || char === "\r" || char === "\t" || char === "\uFEFF") continue;
    if (depth === 1 && wanted && char !== "]") {
      starts.push(line);
      wanted = false;
    }
    if (char === '"') {
      for (i++; text[i] !== '"'; i++) if (text[i] === "\\") i++;
    } else if (char === "[" || char === "{") depth++;
    else if (char === "]" || char === "}") depth--;
    else if (char === "," && depth === 1) wanted = true;
  }
  return starts;
}

/** The first bytes of a file as text, for recognizing it. */
export function headOf(path: string, bytes = 65_536): string {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(bytes);
    return buffer.subarray(0, readSync(file, buffer, 0, bytes, 0)).toString("utf8");
  } finally {
    closeSync(file);
  }
}

/** The first line's object, or undefined. */
export function firstJsonLine(path: string): Row | undefined {
  const line = headOf(path)
    .replace(/^\uFEFF/, "")
    .split("\n")
    .find((text) => text.trim() !== "");
  try {
    const value: unknown = JSON.parse(line ?? "");
    return isRow(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
