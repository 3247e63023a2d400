/** Against what CPython itself said; python/record.py made the recording. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readTable } from "../../data/python/csv.ts";
import { dumpPythonJson, parsePythonJson, pythonStr } from "../../data/python/json.ts";
import { pythonFloat, pythonSplit, pythonStrip, withoutUrls } from "../../data/python/text.ts";

interface Recorded {
  floats: [hex: string, text: string][];
  json: [text: string, line: string, indented: string][];
  tables: [text: string, rows: string][];
  split: [text: string, words: string[], stripped: string][];
  urls: [text: string, cut: string][];
}
const recorded = JSON.parse(
  readFileSync(join(import.meta.dirname, "python/recorded.json"), "utf8"),
) as Recorded;

test("floats print as str() prints them", () => {
  for (const [hex, text] of recorded.floats) {
    expect(pythonFloat(Buffer.from(hex, "hex").readDoubleBE())).toBe(text);
  }
});

test.each(recorded.json)("%s is read and written as the json module does", (text, line, indented) => {
  const value = parsePythonJson(text);
  expect(dumpPythonJson(value, { ascii: true })).toBe(line);
  expect(dumpPythonJson(value, { ascii: false, indent: 4 })).toBe(indented);
});

test("tables with quotes in all places are read as csv.DictReader reads them", () => {
  for (const [text, rows] of recorded.tables) {
    const got = readTable(text).map((row) => row.members);
    expect(dumpPythonJson(got, { ascii: false }), JSON.stringify(text)).toBe(rows);
  }
});

test("a row's line is where it begins, behind rows that run over several lines", () => {
  const lines = readTable('h\tx\n1\t"two\nlines"\n\n2\tb\n').map((row) => row.line);
  expect(lines).toEqual([2, 5]);
});

test("every blank of Python parts and trims words, and none of JavaScript's own does", () => {
  for (const [text, words, stripped] of recorded.split) {
    expect(pythonSplit(text), JSON.stringify(text)).toEqual(words);
    expect(pythonStrip(text), JSON.stringify(text)).toBe(stripped);
  }
});

test("web addresses are cut up to the next blank of Python", () => {
  for (const [text, cut] of recorded.urls) expect(withoutUrls(text), JSON.stringify(text)).toBe(cut);
});

test.each(["", "{", '{"a" 1}', "[1,]", "[1 2]", '"open', "01", "{1: 2}", "[] []", '"\n"', "nul"])(
  "%j is no JSON",
  (text) => {
    expect(() => parsePythonJson(text)).toThrow(SyntaxError);
  },
);

test("str() of JSON values: 2.0, True, None", () => {
  expect(
    ["2.0", "true", "null", "2", "1e-05", '"x"'].map((text) => pythonStr(parsePythonJson(text))),
  ).toEqual(["2.0", "True", "None", "2", "1e-05", "x"]);
  expect(pythonStr(parsePythonJson("[]"))).toBeUndefined();
});
