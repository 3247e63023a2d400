/**
 * JSON as CPython's json module reads and writes it: integers stay apart from floats, keys keep the order of
 * their first appearance, NaN and Infinity are let through.
 *
 * Source: CPython 3.10, Lib/json/decoder.py, scanner.py and encoder.py
 */
import { pythonFloat } from "./text.ts";

/** int is bigint, float is number, dict is Map. */
export type PyValue = null | boolean | string | bigint | number | PyValue[] | PyObject;
export type PyObject = Map<string, PyValue>;

export function isPyObject(value: PyValue | undefined): value is PyObject {
  return value instanceof Map;
}

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?/y;
const BLANK = /[ \t\n\r]*/y;
const WORDS: readonly (readonly [string, PyValue])[] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
];

/** @throws SyntaxError with the position */
export function parsePythonJson(text: string): PyValue {
  let at = 0;
  const fail = (wanted: string): never => {
    throw new SyntaxError(`${wanted} at position ${at}`);
  };
  const skipBlank = (): void => {
    BLANK.lastIndex = at;
    BLANK.test(text);
    at = BLANK.lastIndex;
  };
  const string = (): string => {
    const from = at++;
    while (text[at] !== '"') {
      if (at >= text.length) fail("a string needs its closing quote");
      at += text[at] === "\\" ? 2 : 1;
    }
    at++;
    // JSON.parse knows the escapes; its refusals (control characters, bad escapes) are Python's too.
    return JSON.parse(text.slice(from, at)) as string;
  };
  const value = (): PyValue => {
    skipBlank();
    const char = text[at];
    if (char === '"') return string();
    if (char === "{") return object();
    if (char === "[") return array();
    NUMBER.lastIndex = at;
    const number = NUMBER.exec(text);
    if (number !== null) {
      at = NUMBER.lastIndex;
      return number[1] === undefined && number[2] === undefined ? BigInt(number[0]) : Number(number[0]);
    }
    const word = WORDS.find(([name]) => text.startsWith(name, at));
    if (word === undefined) return fail("a JSON value is wanted");
    at += word[0].length;
    return word[1];
  };
  const array = (): PyValue[] => {
    const items: PyValue[] = [];
    at++;
    skipBlank();
    if (text[at] === "]") {
      at++;
      return items;
    }
    for (;;) {
      items.push(value());
      skipBlank();
      const next = text[at++];
      if (next === "]") return items;
      if (next !== ",") {
        at--;
        fail('"," or "]" is wanted');
      }
    }
  };
  const object = (): PyObject => {
    const members: PyObject = new Map();
    at++;
    skipBlank();
    if (text[at] === "}") {
      at++;
      return members;
    }
    for (;;) {
      skipBlank();
      if (text[at] !== '"') fail("a key in double quotes is wanted");
      const key = string();
      skipBlank();
      if (text[at++] !== ":") {
        at--;
        fail('":" is wanted');
      }
      members.set(key, value());
      skipBlank();
      const next = text[at++];
      if (next === "}") return members;
      if (next !== ",") {
        at--;
        fail('"," or "}" is wanted');
      }
    }
  };
  const result = value();
  skipBlank();
  if (at < text.length) fail("nothing more is wanted");
  return result;
}

export interface DumpOptions {
  /** Escape everything outside printable ASCII as \uXXXX, lower-case. */
  readonly ascii: boolean;
  /** Spaces a level; on one line where absent. */
  readonly indent?: number;
}

/** json.dumps(value, ensure_ascii=…, indent=…) */
export function dumpPythonJson(value: PyValue, options: DumpOptions): string {
  const step = options.indent === undefined ? undefined : " ".repeat(options.indent);
  const dump = (item: PyValue, margin: string): string => {
    if (item === null) return "null";
    if (typeof item === "string") return quoted(item, options.ascii);
    if (typeof item === "number") return floatWord(item);
    if (typeof item === "bigint" || typeof item === "boolean") return String(item);
    const [open, close] = Array.isArray(item) ? ["[", "]"] : ["{", "}"];
    const inner = step === undefined ? "" : margin + step;
    const parts = Array.isArray(item)
      ? item.map((one) => dump(one, inner))
      : [...item].map(([key, one]) => `${quoted(key, options.ascii)}: ${dump(one, inner)}`);
    if (parts.length === 0) return open + close;
    if (step === undefined) return open + parts.join(", ") + close;
    return `${open}\n${inner}${parts.join(`,\n${inner}`)}\n${margin}${close}`;
  };
  return dump(value, "");
}

function floatWord(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity";
  return pythonFloat(value);
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\f": "\\f",
  "\b": "\\b",
};

function quoted(text: string, ascii: boolean): string {
  // By UTF-16 unit, as Python writes surrogate pairs too.
  const special = ascii ? /[^ -~]|["\\]/g : /[^ -\uffff]|["\\]/g;
  const escaped = text.replaceAll(
    special,
    (char) => SHORT[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `"${escaped}"`;
}

/** str() of a JSON value that is no list or dict: 2.0 -> "2.0", true -> "True", null -> "None". */
export function pythonStr(value: PyValue | undefined): string | undefined {
  if (value === null) return "None";
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "bigint") return String(value);
  return typeof value === "number" ? pythonFloat(value) : undefined;
}
