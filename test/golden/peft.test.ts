/**
 * Adapters that PEFT wrote (test/golden/peft, or the directory in GOLDEN_PEFT): read, written back, refused.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { CONFIG_FILE, MODEL_FILE, readPeft, writePeft } from "../../adapters/peft.ts";
import { openSafetensors } from "../../adapters/safetensors.ts";
import { FedloomError } from "../../base/errors.ts";

const directory = process.env.GOLDEN_PEFT ?? join(import.meta.dirname, "peft");
const cases = readdirSync(directory, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && existsSync(join(directory, entry.name, CONFIG_FILE)))
  .map(({ name }) => name)
  .sort();

const index = z
  .object({
    cases: z.array(
      z.object({ case: z.string(), tensors: z.record(z.string(), z.tuple([z.string(), z.array(z.int())])) }),
    ),
  })
  .parse(JSON.parse(readFileSync(join(directory, "index.json"), "utf8")));

const folder = mkdtempSync(join(tmpdir(), "fedloom-golden-peft-"));
afterAll(() => rmSync(folder, { recursive: true }));

const configOf = (path: string): Record<string, unknown> => JSON.parse(readFileSync(join(path, CONFIG_FILE), "utf8"));
/** What fedloom says it does not support, and must then name. */
const refused = cases.filter((name) => configOf(join(directory, name)).use_dora === true);
const supported = cases.filter((name) => !refused.includes(name));

test("there are cases to run", () => {
  console.log(`PEFT reference: ${cases.length} cases, ${refused.length} of them to be refused`);
  expect(supported.length).toBeGreaterThan(0);
});

describe.each(supported)("%s", (name) => {
  const source = join(directory, name);
  const written = join(folder, name);

  test("is read and written with every name, type, shape, value and key as it was", () => {
    writePeft(written, readPeft(source));
    const [before, after] = [openSafetensors(join(source, MODEL_FILE)), openSafetensors(join(written, MODEL_FILE))];
    expect(after.names).toEqual(before.names);
    expect(after.metadata).toEqual(before.metadata);
    for (const tensor of before.names) expect(after.read(tensor)).toEqual(before.read(tensor));
    before.close();
    after.close();
    expect(configOf(written)).toEqual(configOf(source));
  });

  test("is, file for file, what PEFT wrote", () => {
    writePeft(written, readPeft(source));
    expect(readFileSync(join(written, MODEL_FILE)).equals(readFileSync(join(source, MODEL_FILE)))).toBe(true);
  });

  test("has the tensors that PEFT's own index lists", () => {
    const listed = index.cases.find((entry) => entry.case === name)?.tensors;
    const found = [...readPeft(source).tensors].map(([tensor, { dtype, shape }]) => [tensor, [dtype, shape]]);
    expect(Object.fromEntries(found)).toEqual(listed);
  });
});

test.each(refused)("%s is refused by name", (name) => {
  expect(() => readPeft(join(directory, name))).toThrow(FedloomError);
  expect(() => readPeft(join(directory, name))).toThrow("use_dora = true, which is not supported");
});
