/**
 * Training over ONNX graphs gives PyTorch's numbers: loss, logits, every gradient, and ten AdamW steps of every
 * reference model (test/golden/models, or the directory in GOLDEN_MODELS; its README says how they were made).
 */
import { join } from "node:path";
import { expect, test } from "vitest";
import { modelContract } from "./model-contract.ts";
import { modelCases } from "./models-directory.ts";

const root = process.env.GOLDEN_MODELS ?? join(import.meta.dirname, "models");
const cases = modelCases(root);

test("there are cases to run", () => {
  console.log(`Reference models: ${cases.length} cases in ${root}`);
  expect(cases.length).toBeGreaterThan(0);
});

modelContract(cases, { steps: true });
