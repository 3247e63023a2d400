/** Operators without a gradient, and the types and attributes that gradients do not meet. */
import {
  type DType,
  float32,
  sizeOf,
  type Tensor,
  type TensorData,
  tensor,
} from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { int, ints, string } from "../../../training/onnx/graph.ts";
import type { OperatorCase } from "./operator-check.ts";

const rng = createRng("tfjs operators");
const floats = (shape: readonly number[], low = -2, high = 2): Tensor =>
  float32(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => low + (high - low) * rng.uniform()),
  );
/** Whole numbers from `low` up to `high`, `high` left out. */
const draw = (shape: readonly number[], low: number, high: number): number[] =>
  Array.from({ length: sizeOf(shape) }, () => low + Math.floor((high - low) * rng.uniform()));
const integers = (shape: readonly number[], low = -9, high = 10): Tensor =>
  tensor("I64", shape, BigInt64Array.from(draw(shape, low, high), BigInt));
const int32 = (shape: readonly number[], low = -9, high = 10): Tensor =>
  tensor("I32", shape, Int32Array.from(draw(shape, low, high)));
const bools = (shape: readonly number[]): Tensor => tensor("BOOL", shape, Uint8Array.from(draw(shape, 0, 2)));
const list = (...values: number[]): readonly [Tensor] => [
  tensor("I64", [values.length], BigInt64Array.from(values, BigInt)),
];
const scalar = (type: DType, data: TensorData): readonly [Tensor] => [tensor(type, [], data)];
const special = float32([2, 4], Float32Array.of(Number.NaN, 1, -1, 0.5, -0.5, 2.5, Infinity, -Infinity));
/** Halves, so that rounding and equality have something to decide. */
const halves = float32(
  [2, 6],
  Float32Array.from(draw([12], -6, 7), (v) => v / 2),
);

const COMPARISONS = ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"];
const to = (number: number) => ({ to: int(number) });
/** ONNX's numbers of element types. */
const [F32, I32, I64, BOOL, F16] = [1, 6, 7, 9, 10];

/** Beyond 2^24, where float32 is not exact any more. */
const large = (shape: readonly number[]): Tensor => integers(shape, -(2 ** 30), 2 ** 30);

const LARGE: readonly OperatorCase[] = [
  ...["Neg", "Abs", "Sign"].map((op): OperatorCase => ({ op, inputs: [large([9])] })),
  ...["Add", "Sub", "Min", "Max", "Less"].map(
    (op): OperatorCase => ({ op, inputs: [large([3, 4]), large([4])] }),
  ),
  { op: "Mul", inputs: [large([9]), integers([9], -1, 2)] },
  { op: "Div", inputs: [large([40]), integers([40], 1, 9)] },
  { op: "Mod", inputs: [large([40]), integers([40], 1, 9)] },
  { op: "Equal", inputs: [tensor("I64", [2], BigInt64Array.of(2n ** 30n, 2n ** 30n + 1n)), list(2 ** 30)] },
  { op: "Where", inputs: [bools([3, 4]), large([3, 4]), large([4])] },
  { op: "Gather", inputs: [large([4, 3]), integers([5], -4, 4)] },
  { op: "GatherElements", inputs: [large([4, 3]), integers([2, 3], -4, 4)] },
  { op: "GatherND", inputs: [large([4, 3]), integers([5, 2], -3, 3)] },
  { op: "ReduceMax", inputs: [large([3, 4]), list(1)] },
  { op: "ReduceMin", inputs: [large([3, 4]), list(0)] },
  { op: "ReduceSum", inputs: [integers([3, 4], 2 ** 25, 2 ** 26), list(1)] },
  { op: "CumSum", inputs: [integers([3, 4], 2 ** 25, 2 ** 26), scalar("I64", BigInt64Array.of(1n))] },
  { op: "ArgMax", inputs: [large([3, 5])], attributes: { axis: int(1) } },
  { op: "Concat", inputs: [large([2, 3]), large([2, 1])], attributes: { axis: int(1) } },
  { op: "Transpose", inputs: [large([2, 3, 4])] },
  { op: "Expand", inputs: [large([2, 1]), list(2, 3)] },
  { op: "Tile", inputs: [large([2, 3]), list(2, 2)] },
  { op: "Slice", inputs: [large([7, 3]), list(5), list(0), list(0), list(-2)] },
  { op: "Cast", inputs: [large([9])], attributes: { to: int(6) } },
].map((wanted) => ({ ...wanted, note: "large integers" }));

export const OPERATOR_CASES: readonly OperatorCase[] = [
  ...LARGE,
  ...["Floor", "Ceil", "Round", "Sign"].map((op): OperatorCase => ({ op, inputs: [halves] })),
  ...["IsNaN", "IsInf", "Neg", "Abs"].map((op): OperatorCase => ({ op, inputs: [special], opset: 20 })),
  ...["Relu", "Tanh", "Sigmoid", "Exp"].map((op): OperatorCase => ({ op, note: "NaN", inputs: [special] })),
  ...["Neg", "Abs", "Sign"].map((op): OperatorCase => ({ op, note: "integers", inputs: [integers([3, 2])] })),
  { op: "Not", inputs: [bools([2, 3])] },
  { op: "Dropout", note: "with its mask", inputs: [floats([2, 3])], outputs: 1 },
  ...["And", "Or", "Xor"].map((op): OperatorCase => ({ op, inputs: [bools([2, 1, 3]), bools([2, 3])] })),
  ...COMPARISONS.flatMap((op): OperatorCase[] => [
    { op, inputs: [halves, float32([6], Float32Array.of(-1, 0, 0.5, 1, 2, 3))] },
    { op, note: "integers", inputs: [integers([4, 3], -2, 3), integers([3], -2, 3)] },
  ]),
  { op: "Equal", note: "booleans", inputs: [bools([2, 5]), bools([5])] },
  ...["Add", "Sub", "Mul", "Min", "Max"].flatMap((op): OperatorCase[] => [
    { op, note: "integers", inputs: [integers([2, 3]), integers([3])] },
    { op, note: "NaN and infinities", inputs: [special, floats([4])] },
  ]),
  { op: "Div", note: "integers towards zero", inputs: [integers([40], -9, 10), integers([40], 1, 5)] },
  { op: "Div", note: "by negative integers", inputs: [int32([40], -9, 10), int32([40], -4, 0)] },
  { op: "Mod", note: "integers", inputs: [integers([40], -9, 10), integers([40], 1, 5)] },
  { op: "Mod", note: "sign of the divisor", inputs: [integers([40], -9, 10), integers([40], -4, 0)] },
  {
    op: "Mod",
    note: "fmod",
    inputs: [floats([40], -9, 9), floats([40], 1, 3)],
    attributes: { fmod: int(1) },
  },
  { op: "Pow", note: "integer exponent", inputs: [floats([2, 3]), scalar("I64", BigInt64Array.of(3n))] },
  { op: "Where", note: "integers", inputs: [bools([2, 1]), integers([2, 3]), integers([3])] },
  {
    op: "Clip",
    note: "integers",
    inputs: [integers([9]), scalar("I64", BigInt64Array.of(-3n)), scalar("I64", BigInt64Array.of(4n))],
    opset: 13,
  },
  { op: "Cast", note: "to integers", inputs: [floats([20], -5, 5)], attributes: to(I64) },
  { op: "Cast", note: "to int32", inputs: [floats([20], -5, 5)], attributes: to(I32) },
  { op: "Cast", note: "to booleans", inputs: [halves], attributes: to(BOOL) },
  { op: "Cast", note: "integers to floats", inputs: [integers([5])], attributes: to(F32) },
  { op: "Cast", note: "booleans to floats", inputs: [bools([5])], attributes: to(F32) },
  { op: "Cast", note: "booleans to integers", inputs: [bools([5])], attributes: to(I64) },
  { op: "Cast", note: "to float16", inputs: [halves], attributes: to(F16) },
  { op: "Gather", note: "negative indices", inputs: [floats([4, 3]), integers([2, 2], -4, 4)] },
  {
    op: "Gather",
    note: "integers, axis 1",
    inputs: [integers([4, 3]), integers([5], -3, 3)],
    attributes: { axis: int(1) },
  },
  { op: "Gather", note: "booleans", inputs: [bools([4, 3]), int32([2], 0, 4)] },
  { op: "GatherElements", note: "negative indices", inputs: [floats([4, 3]), integers([2, 3], -4, 4)] },
  { op: "GatherND", note: "negative indices", inputs: [floats([4, 3, 2]), integers([5, 2], -3, 3)] },
  {
    op: "GatherND",
    note: "batch",
    inputs: [floats([2, 4, 3]), integers([2, 5, 1], 0, 4)],
    attributes: { batch_dims: int(1) },
  },
  {
    op: "ScatterND",
    note: "replaces",
    inputs: [floats([6, 2]), [tensor("I64", [3, 1], BigInt64Array.of(4n, 1n, 3n))], floats([3, 2])],
  },
  { op: "OneHot", inputs: [integers([2, 3], -4, 4), list(4), float32([2], Float32Array.of(-1, 3))] },
  {
    op: "OneHot",
    note: "axis 0",
    inputs: [integers([5], 0, 3), list(3), integers([2])],
    attributes: { axis: int(0) },
  },
  ...["ArgMax", "ArgMin"].flatMap((op): OperatorCase[] => [
    { op, inputs: [floats([3, 5])], attributes: { axis: int(1) } },
    {
      op,
      note: "dropped axis",
      inputs: [floats([3, 5, 2])],
      attributes: { axis: int(-3), keepdims: int(0) },
    },
  ]),
  { op: "TopK", inputs: [floats([3, 7]), list(4)], outputs: 2 },
  {
    op: "TopK",
    note: "smallest, axis 0",
    inputs: [floats([7, 2]), list(3)],
    attributes: { axis: int(0), largest: int(0) },
    outputs: 2,
  },
  { op: "ReduceSum", note: "integers", inputs: [integers([3, 4]), list(1)] },
  { op: "ReduceMax", note: "NaN", inputs: [special, list(1)] },
  {
    op: "ReduceMax",
    note: "integers",
    inputs: [integers([3, 4]), list(0)],
    attributes: { keepdims: int(0) },
  },
  {
    op: "ReduceSum",
    note: "no axes, kept as it is",
    inputs: [floats([3, 4]), null],
    attributes: { noop_with_empty_axes: int(1) },
  },
  {
    op: "Softmax",
    note: "masked",
    inputs: [float32([2, 3], Float32Array.of(1, -Infinity, 2, -3.4e38, 0, -3.4e38))],
  },
  { op: "Softmax", note: "nothing left", inputs: [float32([1, 3], new Float32Array(3).fill(-Infinity))] },
  { op: "Softmax", note: "axis 1 of 4", inputs: [floats([2, 3, 4, 2])], attributes: { axis: int(1) } },
  { op: "LpNormalization", inputs: [floats([3, 4])] },
  {
    op: "LpNormalization",
    note: "p 1, axis 0",
    inputs: [floats([3, 4])],
    attributes: { p: int(1), axis: int(0) },
  },
  {
    op: "LayerNormalization",
    note: "with statistics",
    inputs: [floats([2, 3, 4]), floats([4]), floats([4])],
    outputs: 3,
  },
  { op: "CumSum", note: "integers", inputs: [integers([3, 4]), scalar("I64", BigInt64Array.of(1n))] },
  {
    op: "Concat",
    note: "integers",
    inputs: [integers([2, 3]), integers([2, 1])],
    attributes: { axis: int(-1) },
  },
  { op: "Expand", note: "booleans", inputs: [bools([2, 1, 3]), list(2, 4, 3)] },
  { op: "Expand", note: "six axes", inputs: [floats([2, 1, 1, 3, 1, 2]), list(2, 2, 1, 3, 2, 2)] },
  { op: "Tile", note: "integers", inputs: [integers([2, 3]), list(2, 2)] },
  {
    op: "Transpose",
    note: "six axes",
    inputs: [floats([2, 3, 2, 1, 2, 3])],
    attributes: { perm: ints([5, 0, 3, 2, 4, 1]) },
  },
  {
    op: "Slice",
    note: "backwards",
    inputs: [floats([7, 3]), list(5, 0), list(-8, 3), list(0, 1), list(-2, 2)],
  },
  { op: "Slice", note: "nothing left", inputs: [floats([7, 3]), list(4), list(2), list(0)] },
  { op: "Slice", note: "integers", inputs: [integers([7, 3]), list(1), list(6), list(0), list(2)] },
  {
    op: "Pad",
    note: "reflect",
    inputs: [floats([3, 4]), list(1, 2, 0, 1)],
    attributes: { mode: string("reflect") },
  },
  { op: "Pad", note: "cuts", inputs: [floats([3, 4]), list(-1, 2, 0, -1)] },
  {
    op: "Pad",
    note: "integers",
    inputs: [integers([3, 4]), list(1, 0, 0, 2), scalar("I64", BigInt64Array.of(7n))],
  },
  {
    op: "Trilu",
    note: "integers, lower",
    inputs: [integers([2, 4, 4]), scalar("I64", BigInt64Array.of(-1n))],
    attributes: { upper: int(0) },
  },
  { op: "EyeLike", inputs: [floats([3, 5])], attributes: { k: int(1) } },
  { op: "ConstantOfShape", note: "large", inputs: [list(200, 200)] },
  { op: "MatMul", note: "vectors", inputs: [floats([3]), floats([3])] },
  { op: "MatMul", note: "vector by matrices", inputs: [floats([3]), floats([2, 3, 4])] },
  { op: "MatMul", note: "matrices by vector", inputs: [floats([2, 4, 3]), floats([3])] },
  { op: "MatMul", note: "both broadcast", inputs: [floats([2, 1, 3, 2]), floats([1, 3, 2, 4])] },
  {
    op: "Einsum",
    note: "a sum aside",
    inputs: [floats([2, 3, 4]), floats([3, 5])],
    attributes: { equation: string("bij,ik->kb") },
  },
  {
    op: "Conv",
    note: "groups, stride, padding",
    inputs: [floats([2, 4, 7, 6]), floats([6, 2, 3, 2]), floats([6])],
    attributes: { group: int(2), strides: ints([2, 1]), pads: ints([1, 0, 2, 1]) },
  },
  {
    op: "Conv",
    note: "one axis, dilated",
    inputs: [floats([2, 3, 9]), floats([4, 3, 3])],
    attributes: { dilations: ints([2]), pads: ints([2, 2]) },
  },
  {
    op: "ConvTranspose",
    note: "stride and padding",
    inputs: [floats([2, 3, 4, 5]), floats([3, 2, 3, 3]), floats([2])],
    attributes: { strides: ints([2, 2]), pads: ints([1, 1, 0, 1]), output_padding: ints([1, 0]) },
  },
  {
    op: "ConvTranspose",
    note: "groups, dilated",
    inputs: [floats([1, 4, 5, 4]), floats([4, 3, 2, 2])],
    attributes: { group: int(2), dilations: ints([2, 1]) },
  },
  {
    op: "MaxPool",
    inputs: [floats([2, 3, 7, 6])],
    attributes: { kernel_shape: ints([3, 2]), strides: ints([2, 2]), pads: ints([1, 0, 1, 0]) },
  },
  {
    op: "AveragePool",
    note: "padding left out",
    inputs: [floats([2, 3, 7, 6])],
    attributes: { kernel_shape: ints([3, 2]), strides: ints([2, 2]), pads: ints([1, 0, 1, 1]) },
  },
  {
    op: "AveragePool",
    note: "padding counted",
    inputs: [floats([1, 2, 6])],
    attributes: { kernel_shape: ints([3]), pads: ints([1, 1]), count_include_pad: int(1) },
  },
  {
    op: "DequantizeLinear",
    note: "one scale",
    inputs: [
      [tensor("U8", [2, 3], Uint8Array.of(0, 3, 128, 200, 255, 7))],
      scalar("F32", Float32Array.of(0.1)),
      scalar("U8", Uint8Array.of(128)),
    ],
  },
  {
    op: "DequantizeLinear",
    note: "by row",
    inputs: [[tensor("I8", [2, 3], Int8Array.of(-128, 3, 12, 100, -2, 7))], floats([2], 0.1, 1)],
    attributes: { axis: int(0) },
  },
];
