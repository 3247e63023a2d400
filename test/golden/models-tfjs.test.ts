/** The reference models on tfjs: PyTorch's numbers within the same tolerances, in WebAssembly and in plain JavaScript. */
import { join } from "node:path";
import { afterAll, describe } from "vitest";
import { BACKENDS, runtimeOn } from "../training/tfjs/backends.ts";
import { modelContract } from "./model-contract.ts";
import { modelCases } from "./models-directory.ts";

const cases = modelCases(process.env.GOLDEN_MODELS ?? join(import.meta.dirname, "models"));
/** Every graph with its first adapter: JavaScript is slow, and adapters differ in parameters, not in operators. */
const graphs = [...Map.groupBy(cases, ({ decoder }) => decoder).values()].map(([first]) => first!);

describe.each(BACKENDS)("backend %s", (backend) => {
  const runtime = runtimeOn(backend);
  afterAll(() => runtime.close());
  modelContract(backend === "cpu" ? graphs : cases, { runtime, steps: false });
});
