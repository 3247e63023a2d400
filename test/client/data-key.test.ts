import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { dataKeyIn } from "../../client/data-key.ts";

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-key-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("a key is made once, is kept, and is nobody else's", () => {
  const [here, there] = [temporaryDirectory(), temporaryDirectory()];
  const key = dataKeyIn(here);
  expect(key).toHaveLength(32);
  expect(dataKeyIn(here)).toEqual(key);
  expect(dataKeyIn(there)).not.toEqual(key);
  if (process.platform !== "win32") expect(statSync(join(here, "data.key")).mode & 0o777).toBe(0o600);
});

test("a damaged key is refused with the remedy, and is not shown", () => {
  const directory = temporaryDirectory();
  dataKeyIn(directory);
  const file = join(directory, "data.key");
  const cut = readFileSync(file, "utf8").slice(0, 40);
  writeFileSync(file, cut);
  expect(() => dataKeyIn(directory)).toThrow(
    expect.objectContaining({
      code: "F5111",
      message: expect.stringMatching(/must be 64 hexadecimal digits; remove the file/),
    }),
  );
  expect(() => dataKeyIn(directory)).not.toThrow(cut);
});

test("a directory that cannot be written is named", () => {
  const directory = join(temporaryDirectory(), "missing");
  expect(() => dataKeyIn(directory)).toThrow(expect.objectContaining({ code: "F5107" }));
});
