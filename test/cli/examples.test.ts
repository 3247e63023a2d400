import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadRunFile } from "../../cli/run-file.ts";

const folder = join(import.meta.dirname, "..", "..", "examples");
const files = readdirSync(folder).filter((name) => name.endsWith(".yaml"));

test("there are examples, and the page lists each of them", () => {
  expect(files.length).toBeGreaterThan(3);
  const page = readFileSync(join(folder, "README.md"), "utf8");
  for (const file of files) expect(page).toContain(`(${file})`);
});

test.each(files)(
  "examples/%s is a run file that a coordinator takes, with a model that is there",
  async (file) => {
    const { config } = await loadRunFile(join(folder, file));
    expect(existsSync(join(config.model, "config.json"))).toBe(true);
    expect(config.evaluation?.data).toContain("runs/hello/data/held-out");
  },
);
