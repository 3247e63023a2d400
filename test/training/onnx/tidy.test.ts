/** A program in the form that the runtime would bring it to: the same values. */
import { expect, test } from "vitest";
import { float32, sizeOf, tensorSet } from "../../../adapters/tensor.ts";
import { constant, integers, made, operationOf, reshape } from "../../../training/onnx/finished.ts";
import { int, ints } from "../../../training/onnx/graph.ts";
import type { Operation, Program, Value } from "../../../training/onnx/program.ts";
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
const firstHalf = result("first half", [1, 3, 4]);
const seven = constant("seven", weightOf("F32", [], Float32Array.of(7)));

// A power of two: before or after a sum it gives the same.
const four = constant("four", weightOf("F32", [], Float32Array.of(4)));
const one = constant("one", weightOf("F32", [], Float32Array.of(1)));
const oneHalf = constant("one half", weightOf("F32", [], Float32Array.of(0.5)));
const matrix = constant(
  "matrix",
  weightOf(
    "F32",
    [4, 4],
    Float32Array.from({ length: 16 }, (_, i) => Math.cos(i)),
  ),
);
const column = result("column", [24, 1]);
const row = result("row", [1, 24]);
const square = result("square", [24, 24]);
const multiple = result("multiple", [24]);
const all = result("all", [24]);
const turnedSquare = result("turned square", [24, 24]);
const erf = result("erf", [2, 3, 4]);
const opened = result("opened", [2, 3, 4]);
const gate = result("gate", [2, 3, 4]);

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
  [
    "slices along two axes",
    [slice(first, 0, 1, 1), slice(firstHalf, 0, 1, 0)],
    [first, firstHalf],
    ["Slice", "Slice"],
  ],
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
    "a product times a number",
    [
      operationOf("MatMul", [x, matrix], big),
      operationOf("Mul", [big, four], same),
      operationOf("Neg", [same], sum),
    ],
    [sum],
    ["FusedMatMul", "Neg"],
  ],
  [
    "a product, in another shape, times a number",
    [
      operationOf("MatMul", [x, matrix], big),
      reshape(big, flat),
      operationOf("Mul", [four, flat], multiple),
      operationOf("Neg", [multiple], all),
    ],
    [all],
    ["FusedMatMul", "Reshape", "Neg"],
  ],
  [
    "a product with what was multiplied by a number",
    [operationOf("Mul", [x, four], big), operationOf("MatMul", [big, matrix], sum)],
    [sum],
    ["FusedMatMul"],
  ],
  [
    "a multiple that something else reads too",
    [
      operationOf("Mul", [x, four], big),
      operationOf("MatMul", [big, matrix], sum),
      operationOf("Neg", [big], same),
    ],
    [sum, same],
    ["Mul", "MatMul", "Neg"],
  ],
  [
    "a GELU before a product",
    [
      operationOf("Erf", [x], erf),
      operationOf("Add", [erf, one], opened),
      operationOf("Mul", [x, opened], gate),
      operationOf("Mul", [gate, oneHalf], big),
      operationOf("MatMul", [big, matrix], sum),
    ],
    [sum],
    ["Erf", "Add", "Mul", "Mul", "MatMul"],
  ],
  [
    "a column times a row, turned",
    [
      reshape(x, column),
      reshape(x, row),
      operationOf("MatMul", [column, row], square),
      transposed(square, turnedSquare, [1, 0]),
    ],
    [turnedSquare],
    ["Reshape", "Reshape", "FusedMatMul"],
  ],
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
