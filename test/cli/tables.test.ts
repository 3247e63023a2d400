import fc from "fast-check";
import { expect, test } from "vitest";
import { table, textWidth } from "../../cli/table.ts";
import { bytes, duration, figure } from "../../cli/units.ts";

test("columns are as wide as their widest cell; right ones end in one line", () => {
  const lines = table(
    [{ title: "name" }, { title: "n", align: "right" }, { title: "note" }],
    [
      ["a", "5", "x"],
      ["longer", "1200", ""],
    ],
  );
  expect(lines).toEqual(["name       n  note", "a          5  x", "longer  1200"]);
});

test("colors take no room", () => {
  expect(textWidth("\u001b[1mab\u001b[22m")).toBe(2);
  const [, row] = table([{ title: "x" }, { title: "y" }], [["\u001b[31ma\u001b[39m", "b"]]);
  expect(row).toBe("\u001b[31ma\u001b[39m  b");
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 KiB"],
  [152_000, "148 KiB"],
  [3 * 2 ** 30, "3.0 GiB"],
])("%i bytes read %s", (count, text) => {
  expect(bytes(count)).toBe(text);
});

test("bytes never take more than eight columns below 1000 TiB", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999 * 2 ** 40 }), (count) => {
      expect(bytes(count).length).toBeLessThanOrEqual(8);
    }),
  );
});

test.each([
  [12, "12 ms"],
  [3140, "3.1 s"],
  [9960, "10 s"],
  [59_400, "59 s"],
  [185_000, "3m 05s"],
  [7_620_000, "2h 07m"],
])("%i ms read %s", (ms, text) => {
  expect(duration(ms)).toBe(text);
});

test("figures keep four digits", () => {
  expect([0.421_34, 12.5, 1e-5, 3].map(figure)).toEqual(["0.4213", "12.5", "0.00001", "3"]);
  expect(figure(Number.NaN)).toBe("NaN");
});
