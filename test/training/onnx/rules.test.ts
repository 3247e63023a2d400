import { describe, expect, test } from "vitest";
import { LOWERINGS } from "../../../training/onnx/lowerings/index.ts";
import { allSupport } from "../../../training/onnx/support.ts";
import { RULE_CASES } from "./rule-cases.ts";
import { directionalError, forwardError } from "./rule-check.ts";

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

const TAKEN_APART = ["Attention", "FusedConv", "FusedGemm"].map((op) => ({ op, domain: "com.microsoft" }));

/** The runtime fuses and orders sums as it likes. */
const FORWARD_LIMIT = 1e-5;
/** Those that are taken apart before anything is placed are no lowerings, but the same is asked of them. */
const lowered = new Set([...LOWERINGS, ...TAKEN_APART].map(nameOf));

describe("lowerings compute what the runtime's own kernels do", () => {
  test.each(titled.filter(({ wanted }) => lowered.has(nameOf(wanted))))(
    "$title",
    async ({ wanted, title }) => {
      expect(await forwardError(wanted, title)).toBeLessThan(FORWARD_LIMIT);
    },
  );
});

/** Proven elsewhere, on whole models: test/golden/models.test.ts. */
const ON_MODELS = ["If"];

test("every rule and lowering has a case", () => {
  const proven = new Set([...RULE_CASES.map(nameOf), ...ON_MODELS]);
  const unproven = allSupport().filter(
    ({ operator, kind }) => (kind === "rule" || kind === "lowering") && !proven.has(operator),
  );
  expect(unproven.map(({ operator }) => operator)).toEqual([]);
});
