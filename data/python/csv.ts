/**
 * Tables as CPython's csv.DictReader reads them.
 *
 * A field that begins with a quote runs to the closing quote, over tabs and line ends; two quotes inside are one;
 * text after the closing quote is appended as it is. A quote elsewhere is a letter. An opening quote that is never
 * closed swallows rows up to the next quote: real tweets do that, and the published partitions hang on it.
 *
 * Source: CPython 3.10, Modules/_csv.c and Lib/csv.py; files opened with universal newlines
 */
import type { PyObject, PyValue } from "./json.ts";

export interface TableRow {
  /** Line of the file at which the row begins, from 1. */
  readonly line: number;
  /** Surplus fields stand under "null" as a list, last; missing ones are null. */
  readonly members: PyObject;
}

/** @param delimiter one character @returns no rows where the text has no header */
export function readTable(text: string, delimiter = "\t"): TableRow[] {
  const records = recordsOf(text.replaceAll(/\r\n?/g, "\n"), delimiter).filter(
    ({ fields }) => fields.length > 0,
  );
  const header = records.shift()?.fields ?? [];
  return records.map(({ line, fields }) => {
    const members: PyObject = new Map<string, PyValue>();
    for (const [i, name] of header.entries()) members.set(name, fields[i] ?? null);
    if (fields.length > header.length) members.set("null", fields.slice(header.length));
    return { line, members };
  });
}

interface TextRecord {
  readonly line: number;
  readonly fields: string[];
}

function recordsOf(text: string, delimiter: string): TextRecord[] {
  const records: TextRecord[] = [];
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const record: TextRecord = { line, fields: [] };
    records.push(record);
    if (text[at] === "\n") {
      at++;
      line++;
      continue;
    }
    for (;;) {
      let field = "";
      if (text[at] === '"') {
        const closing = closingQuote(text, at + 1);
        field = text.slice(at + 1, closing).replaceAll('""', '"');
        line += field.split("\n").length - 1;
        at = closing + 1;
      }
      const end = endOfPlain(text, at, delimiter);
      record.fields.push(field + text.slice(at, end));
      at = end + 1;
      if (text[end] !== delimiter) break;
    }
    line++;
  }
  return records;
}

/** The quote that closes, or the end of the text. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 2)) {
    if (text[at + 1] !== '"') return at;
  }
  return text.length;
}

function endOfPlain(text: string, from: number, delimiter: string): number {
  for (let at = from; at < text.length; at++) if (text[at] === delimiter || text[at] === "\n") return at;
  return Math.max(from, text.length);
}
