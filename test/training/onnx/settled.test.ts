/** Sessions of settled programs open without the runtime's passes: with them the graph would be the same. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import ort from "onnxruntime-node";
import { afterAll, expect, test } from "vitest";
import { readPeft } from "../../../adapters/peft.ts";
import { tensorSet } from "../../../adapters/tensor.ts";
import { onnxRuntime } from "../../../training/onnx/edge/session.ts";
import { constant, made, operationOf } from "../../../training/onnx/finished.ts";
import { decodeModel } from "../../../training/onnx/format/codec.ts";
import { ints } from "../../../training/onnx/graph.ts";
import type { Program, Value } from "../../../training/onnx/program.ts";
import type { Runtime } from "../../../training/onnx/runtime.ts";
import { saveProgram } from "../../../training/onnx/save.ts";
import { isSettled } from "../../../training/onnx/settled.ts";
import { weightOf } from "../../../training/onnx/weight.ts";
import { openModel, tensorsIn } from "../../golden/model-contract.ts";
import { type ModelCase, modelCases } from "../../golden/models-directory.ts";

const folder = mkdtempSync(join(tmpdir(), "fedloom-settled-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** What the runtime makes of a graph, by operators. */
async function passed(model: Uint8Array, weights: string): Promise<string[]> {
  const optimized = join(folder, "optimized.onnx");
  const session = await ort.InferenceSession.create(model, {
    graphOptimizationLevel: "extended", // beyond it are layouts of convolutions, which cannot be written
    optimizedModelFilePath: optimized,
    logSeverityLevel: 3,
    extra: { session: { model_external_initializers_file_folder_path: weights } },
  });
  await session.release();
  return operatorsIn(readFileSync(optimized));
}

function operatorsIn(model: Uint8Array): string[] {
  const { graph } = decodeModel(model);
  return graph!.node!.map(({ opType }) => opType!).sort();
}

const cases = modelCases(join(import.meta.dirname, "../../golden/models"));
const decoders = cases.filter(({ objective }) => objective === "tokens");

/** A step's program counts as settled, and the passes leave its operators as they are. */
async function held(wanted: ModelCase, adapter: ReturnType<typeof readPeft>): Promise<void> {
  const steps: Uint8Array<ArrayBuffer>[] = [];
  const runtime: Runtime = {
    ...onnxRuntime,
    open(program, options) {
      const isStep = program.operations.some(({ op }) => op === "GatherElements"); // a loss picks its labels
      if (isStep) expect(isSettled(program)).toBe(true);
      if (isStep) steps.push(saveProgram(program, options.opset));
      return onnxRuntime.open(program, options);
    },
  };
  const model = await openModel(wanted, adapter, runtime);
  const inputs = tensorsIn(join(wanted.reference, "inputs.safetensors"));
  await model.step({ inputs, labels: inputs.get("labels")! }, adapter.tensors);
  await model.close();
  expect(steps).toHaveLength(1);
  expect(await passed(steps[0]!, dirname(wanted.decoder))).toEqual(operatorsIn(steps[0]!));
}

test.each(decoders)("$name: nothing is left to change in the decoder's step", (wanted) =>
  held(wanted, readPeft(join(wanted.adapter, "adapter"))),
);

test("nor in that of a newer export with LoRA on its upper layer alone", async () => {
  const wanted = decoders.find(({ name }) => name.includes("model_dynamo_opset18"))!;
  const adapter = readPeft(join(wanted.adapter, "adapter"));
  const upper = [...adapter.tensors].filter(([name]) => name.includes(".layers.1."));
  expect(upper.length).toBeGreaterThan(0);
  await held(wanted, { ...adapter, tensors: tensorSet(upper) });
});

const x: Value = { id: 0, name: "x", type: "F32", shape: [2, 3], input: true };
const result = made("result", x, [2, 3]);
const weight = constant("weight", weightOf("F32", [3, 3], new Float32Array(9)));
const ending = (program: Pick<Program, "operations">): Program => ({
  ...program,
  inputs: [x],
  outputs: new Map([["result", result]]),
});

test("a program is not settled with operators that the runtime fuses, or computed from constants alone", () => {
  const turned = made("turned", x, [3, 3]);
  const transpose = operationOf("Transpose", [weight], turned, { perm: ints([1, 0]) });
  expect(isSettled(ending({ operations: [operationOf("MatMul", [x, weight], result)] }))).toBe(true);
  expect(isSettled(ending({ operations: [transpose, operationOf("MatMul", [x, turned], result)] }))).toBe(
    false,
  );
  expect(isSettled(ending({ operations: [operationOf("Erf", [x], result)] }))).toBe(false);
});
