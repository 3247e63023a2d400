import { describe, expect, test } from "vitest";
import { allSupport } from "../../../training/onnx/support.ts";
import { RULE_CASES } from "./rule-cases.ts";
import { directionalError } from "./rule-check.ts";

/** Float32 forward values of about 1, over two steps of about 1e-2. */
const LIMIT = 1e-3;

const nameOf = ({ op, domain = "" }: { op: string; domain?: string }): string =>
  domain === "" ? op : `${domain}.${op}`;
const titled = RULE_CASES.map((wanted) => ({
  wanted,
  title: `${nameOf(wanted)} ${wanted.note ?? JSON.stringify(wanted.inputs.filter(Array.isArray))}`,
}));

describe("gradients agree with central differences", () => {
  test.each(titled)("$title", async ({ wanted, title }) => {
    expect(await directionalError(wanted, title)).toBeLessThan(LIMIT);
  });
});

/** Proven elsewhere, on whole models: test/golden/models.test.ts. */
const ON_MODELS = [
  "If",
  "com.microsoft.Attention",
  "com.microsoft.EmbedLayerNormalization",
  "com.microsoft.MatMulNBits",
];

test("every rule and lowering has a case", () => {
  const proven = new Set([...RULE_CASES.map(nameOf), ...ON_MODELS]);
  const unproven = allSupport().filter(
    ({ operator, kind }) => (kind === "rule" || kind === "lowering") && !proven.has(operator),
  );
  expect(unproven.map(({ operator }) => operator)).toEqual([]);
});
