/** Every kernel gives what onnxruntime gives: operators without gradients here, the others in rules.test.ts. */
import { describe, expect, test } from "vitest";
import { KERNELS } from "../../../training/tfjs/kernels/index.ts";
import { RULE_CASES } from "../onnx/rule-cases.ts";
import { BACKENDS, runtimeOn } from "./backends.ts";
import { OPERATOR_CASES } from "./operator-cases.ts";
import { difference } from "./operator-check.ts";

/** Both compute in float32, with exponentials of their own. */
const TOLERANCE = 1e-5;

const nameOf = ({ op, domain = "" }: { op: string; domain?: string }): string =>
  domain === "" ? op : `${domain}.${op}`;

describe.each(BACKENDS)("backend %s", (backend) => {
  const runtime = runtimeOn(backend);
  test.each(OPERATOR_CASES.map((wanted) => ({ wanted, name: `${nameOf(wanted)} ${wanted.note ?? ""}` })))(
    "$name",
    async ({ wanted }) => {
      expect(await difference(wanted, runtime)).toBeLessThan(TOLERANCE);
    },
  );
});

test("every kernel has a case", () => {
  const proven = new Set([...RULE_CASES.map(nameOf), ...OPERATOR_CASES.map(nameOf)]);
  expect(KERNELS.map(nameOf).filter((name) => !proven.has(name))).toEqual([]);
});
