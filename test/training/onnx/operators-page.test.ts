/** docs/operators.md is made from the engine's tables; `npx vitest run test/training/onnx/operators-page.test.ts -u` writes it. */
import { expect, test } from "vitest";
import { NEWEST_OPSET } from "../../../training/onnx/rules/rule.ts";
import { allSupport, type Support } from "../../../training/onnx/support.ts";
import { RULE_CASES } from "./rule-cases.ts";

function tested({ operator, kind }: Support): string {
  if (kind === "no gradient" || kind === "forward only") return "its result where a graph has it";
  const cases = RULE_CASES.filter(
    ({ op, domain = "" }) => (domain === "" ? op : `${domain}.${op}`) === operator,
  );
  return cases.length > 0
    ? `central differences, ${cases.length} case${cases.length === 1 ? "" : "s"}`
    : "the reference models (`test/golden/models.test.ts`)";
}

function how({ kind, opset, reason }: Support): string {
  switch (kind) {
    case "rule":
      return `gradient rule, operator set ${opset![0]} to ${opset![1]}`;
    case "lowering":
      return `written with simpler operators, operator set ${opset![0]} to ${opset![1]}`;
    case "no gradient":
      return `no gradient: ${reason}`;
    case "forward only":
      return "forward only: refused on the way of a gradient";
    default:
      return kind satisfies never;
  }
}

test("docs/operators.md lists what the engine knows", async () => {
  const rows = allSupport().map(
    (support) => `| ${support.operator} | ${how(support)} | ${tested(support)} |`,
  );
  const page = `# Operators

What the training engine does with each ONNX operator. This page is made from the engine's own tables
(\`training/onnx/support.ts\`) by \`test/training/onnx/operators-page.test.ts\`; do not edit it.

Graphs of operator sets 9 to ${NEWEST_OPSET} are read. An operator that is not here, or is used outside what its rule
states, is refused by name and node before anything runs. "Central differences" are taken through the runtime,
over shapes with broadcasting and edge cases (\`test/training/onnx/rule-cases.ts\`); lowerings are also held against
the runtime's own kernels.

| operator | how | tested by |
| --- | --- | --- |
${rows.join("\n")}
`;
  await expect(page).toMatchFileSnapshot("../../../docs/operators.md");
});
