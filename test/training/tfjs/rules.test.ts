/**
 * Every operator and every gradient that the engine has a case for gives on tfjs what it gives on onnxruntime, in
 * WebAssembly and in plain JavaScript: the same program, the same random inputs.
 */
import { describe, expect, test } from "vitest";
import { RULE_CASES } from "../onnx/rule-cases.ts";
import { runtimeError } from "../onnx/rule-check.ts";
import { BACKENDS, runtimeOn } from "./backends.ts";

/** Both compute in float32, with exponentials and error functions of their own: 2e-6 was seen. */
const TOLERANCE = 1e-5;

const CASES = RULE_CASES.filter(({ kernels }) => kernels !== "onnxruntime");

describe.each(BACKENDS)("backend %s", (backend) => {
  const runtime = runtimeOn(backend);
  test.each(CASES.map((wanted) => ({ wanted, name: `${wanted.op} ${wanted.note ?? ""}` })))(
    "$name",
    async ({ wanted }) => {
      expect(await runtimeError(wanted, `tfjs ${wanted.op}`, runtime)).toBeLessThan(TOLERANCE);
    },
  );
});
