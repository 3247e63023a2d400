/** A program in the form that the runtime would bring it to: the same values, and nothing left for its passes to change. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ort from "onnxruntime-node";
import { expect, onTestFinished, test } from "vitest";
import { float32, sizeOf, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import { onnxRuntime } from "../../../training/onnx/edge/session.ts";
import { constant, integers, made, operationOf, reshape } from "../../../training/onnx/finished.ts";
import { decodeModel } from "../../../training/onnx/format/codec.ts";
import { int, ints } from "../../../training/onnx/graph.ts";
import { openEngine } from "../../../training/onnx/open.ts";
import type { Operation, Program, Value } from "../../../training/onnx/program.ts";
import { saveProgram } from "../../../training/onnx/save.ts";
import { tidied } from "../../../training/onnx/tidy.ts";
import { weightOf } from "../../../training/onnx/weight.ts";
import { resultsOf } from "./rule-check.ts";

const F32 = { type: "F32" } as const;
const x: Value = { id: 0, name: "x", type: "F32", shape: [2, 3, 4], input: true };
const result = (name: string, shape: readonly number[]): Value => made(name, F32, shape);

const slice = (to: Value, from: number, end: number, axis: number): Operation => {
  const bounds = [from, end, axis].map((value, i) => integers(`${to.name}/${i}`, [value]));
  return operationOf("Slice", [x, ...bounds], to);
};
const transposed = (from: Value, to: Value, perm: readonly number[]): Operation =>
  operationOf("Transpose", [from], to, { perm: ints([...perm]) });

const flat = result("flat", [24]);
const rows = result("rows", [6, 4]);
const first = result("first", [2, 1, 4]);
const rest = result("rest", [2, 2, 4]);
const turned = result("turned", [2, 4, 3]);
const outer = result("outer", [3, 2, 4]);
const product = result("product", [2, 4, 4]);
const big = result("big", [2, 3, 4]);
const sum = result("sum", [2, 3, 4]);
const same = result("same", [2, 3, 4]);
const last = result("last", [2, 1, 4]);
const half = result("half", [1, 3, 4]);
const seven = constant("seven", weightOf("F32", [], Float32Array.of(7)));

const cases: [string, Operation[], Value[], string[]][] = [
  ["a Reshape of a Reshape", [reshape(x, flat), reshape(flat, rows)], [rows], ["Reshape"]],
  [
    "a Reshape that is read itself",
    [reshape(x, flat), reshape(flat, rows)],
    [flat, rows],
    ["Reshape", "Reshape"],
  ],
  [
    "Reshapes back to what was there",
    [reshape(x, flat), reshape(flat, same), operationOf("Neg", [same], sum)],
    [sum],
    ["Neg"],
  ],
  ["a result that is what was there", [reshape(x, same)], [same], ["Reshape"]],
  [
    "slices side by side, the last one first",
    [slice(rest, 1, 3, 1), slice(first, 0, 1, 1)],
    [first, rest],
    ["Split"],
  ],
  ["slices with a gap", [slice(first, 0, 1, 1), slice(last, 2, 3, 1)], [first, last], ["Slice", "Slice"]],
  ["slices along two axes", [slice(first, 0, 1, 1), slice(half, 0, 1, 0)], [first, half], ["Slice", "Slice"]],
  [
    "a product with a left operand turned",
    [transposed(x, turned, [0, 2, 1]), operationOf("MatMul", [turned, x], product)],
    [product],
    ["FusedMatMul"],
  ],
  [
    "a fused product with both operands turned",
    [
      transposed(x, turned, [0, 2, 1]),
      {
        ...operationOf("FusedMatMul", [turned, turned], result("both", [2, 4, 4]), { transB: int(1) }),
        domain: "com.microsoft",
      },
    ],
    [result("both", [2, 4, 4])],
    ["FusedMatMul"],
  ],
  ["other axes turned", [transposed(x, outer, [1, 0, 2])], [outer], ["Transpose"]],
  [
    "an Expand of a number",
    [operationOf("Expand", [seven, integers("shape", [2, 3, 4])], big), operationOf("Add", [x, big], sum)],
    [sum],
    ["Add"],
  ],
];

test.each(cases)("%s gives what it gave", async (_, operations, outputs, wanted) => {
  // A case's outputs are those of its operations, also where they are named by a value of their own.
  const byName = new Map(
    operations.flatMap((operation) => operation.outputs).map((value) => [value.name, value]),
  );
  const program: Program = {
    operations,
    inputs: [x],
    outputs: new Map(outputs.map(({ name }) => [`output ${name}`, byName.get(name)!])),
  };
  const tidy = tidied(program);
  expect(tidy.operations.map(({ op }) => op)).toEqual(wanted);
  const data = Float32Array.from({ length: sizeOf(x.shape) }, (_, i) => Math.sin(i + 1));
  const feeds = tensorSet([["x", float32([...x.shape], data)]]);
  const before = await resultsOf(program, feeds);
  const after = await resultsOf(tidy, feeds);
  expect([...after.keys()]).toEqual([...before.keys()]);
  for (const [name, value] of before) {
    expect(after.get(name)!.shape).toEqual(value.shape);
    expect(after.get(name)!.data).toEqual(value.data); // of four terms a sum, in the same order
  }
});

test("equal small constants are one, equal numbers of other types or shapes are not", () => {
  const shapes = [integers("a", [24]), integers("b", [24])] as const;
  const other = result("other", [24]);
  const number = constant("number", weightOf("I64", [], BigInt64Array.of(24n)));
  const list: Value = { id: 1, name: "list", type: "I64", shape: [24], input: true };
  const numbers = made("numbers", list, [24]);
  const { operations } = tidied({
    operations: [
      operationOf("Reshape", [x, shapes[0]], flat),
      operationOf("Reshape", [x, shapes[1]], other),
      operationOf("Add", [list, number], numbers),
    ],
    inputs: [x, list],
    outputs: new Map([flat, other, numbers].map((value) => [value.name, value])),
  });
  const [one, two, three] = operations.map(({ inputs }) => inputs[1]);
  expect(one).toBe(two);
  expect(three).toBe(number);
});

test("of a newer export's training step nothing is left to change for the runtime's passes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fedloom-tidy-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = openGraphFile(
    join(import.meta.dirname, "../../golden/models/smollm-tiny-alt/onnx/model_dynamo_opset18.onnx"),
  );
  let step: Uint8Array<ArrayBuffer> | undefined;
  const engine = await openEngine({
    file,
    lora: ["q", "k", "v", "o"].map((role) => ({
      path: `model.layers.1.self_attn.${role}_proj`,
      rank: 2,
      scale: 1,
    })),
    objective: "tokens",
    threads: 1,
    runtime: {
      ...onnxRuntime,
      open(program, options) {
        step = saveProgram(program, options.opset);
        return onnxRuntime.open(program, options);
      },
    },
  });
  const rng = createRng("tidy");
  const ids = (length: number) => BigInt64Array.from({ length }, () => BigInt(rng.below(300)));
  const parameters = engine.parameters.map(
    ({ name, shape }) =>
      [
        name,
        float32(
          shape,
          Float32Array.from({ length: sizeOf(shape) }, () => rng.normal()),
        ),
      ] as const,
  );
  const inputs = tensorSet([
    ["input_ids", tensor("I64", [1, 24], ids(24))],
    ["attention_mask", tensor("I64", [1, 24], new BigInt64Array(24).fill(1n))],
  ]);
  // A few labels of many positions: rows are picked, and their gradients put into zeros.
  const labels = tensor(
    "I64",
    [1, 24],
    ids(24).map((id, i) => (i < 16 ? -100n : id)),
  );
  await engine.step({ inputs, labels }, tensorSet(parameters));
  await engine.close();

  const optimized = join(folder, "optimized.onnx");
  const session = await ort.InferenceSession.create(step!, {
    graphOptimizationLevel: "extended",
    optimizedModelFilePath: optimized,
    logSeverityLevel: 3,
    extra: { session: { model_external_initializers_file_folder_path: file.folder } },
  });
  await session.release();
  const operators = (model: Uint8Array): string[] => {
    const { graph } = decodeModel(model);
    return graph!.node!.map(({ opType }) => opType!).sort();
  };
  expect(operators(readFileSync(optimized))).toEqual(operators(step!));
});
