/**
 * Text as CPython treats it, where the benchmark's results hang on it.
 *
 * Source: CPython 3.10, Objects/unicodetype_db.h (blanks), Lib/json/encoder.py (escapes), Objects/floatobject.c (repr)
 */

/** What str.split(), str.strip() and \s of re call blank. JavaScript lacks U+001C to U+001F and U+0085, and has U+FEFF. */
export const PYTHON_BLANK =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const BLANKS = new RegExp(`[${PYTHON_BLANK}]+`);
const OUTER_BLANKS = new RegExp(`^[${PYTHON_BLANK}]+|[${PYTHON_BLANK}]+$`, "g");

/** str.split() */
export function pythonSplit(text: string): string[] {
  return text.split(BLANKS).filter((word) => word !== "");
}

/** str.strip() */
export function pythonStrip(text: string): string {
  return text.replaceAll(OUTER_BLANKS, "");
}
