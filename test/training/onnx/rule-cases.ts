/** Shapes, attributes and edges on which each rule and lowering is held against central differences. */
import { float32, tensor } from "../../../adapters/tensor.ts";
import { float, int, ints, string } from "../../../training/onnx/graph.ts";
import { ATTENTION } from "./attention-cases.ts";
import { FUSED } from "./fused-cases.ts";
import { QUANTIZED } from "./quantized-cases.ts";
import type { RuleCase } from "./rule-check.ts";

const list = (...values: number[]) => ({ ints: values });
const bools = (shape: readonly number[], values: readonly number[]) =>
  tensor("BOOL", shape, Uint8Array.from(values));
const ms = "com.microsoft";

const one = (op: string, more: Partial<RuleCase> = {}): RuleCase => ({ op, inputs: [[2, 3]], ...more });

/** Kinks (0 of Relu, 3 of HardSwish) lie further from every drawn value than a step reaches, or outside the range. */
const UNARY: readonly RuleCase[] = [
  ...[
    "Identity",
    "Neg",
    "Exp",
    "Sin",
    "Cos",
    "Tan",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Tanh",
    "Sigmoid",
    "Erf",
  ].map((op) => one(op)),
  ...["Softplus", "Softsign", "Mish", "Elu", "Celu", "Selu"].map((op) => one(op, { opset: 22 })),
  ...["Log", "Sqrt", "Reciprocal"].map((op) => one(op, { range: [0.5, 2] })),
  ...["Asin", "Acos", "Atanh"].map((op) => one(op, { range: [-0.7, 0.7] })),
  one("Acosh", { range: [1.5, 3] }),
  ...["Abs", "Relu", "LeakyRelu"].flatMap((op): RuleCase[] => [
    one(op, { note: "positive", range: [0.3, 2] }),
    one(op, { note: "negative", range: [-2, -0.3] }),
  ]),
  one("ThresholdedRelu", { range: [1.2, 2] }),
  one("ThresholdedRelu", { note: "below", range: [-1, 0.8] }),
  one("Celu", { note: "alpha", attributes: { alpha: float(0.5) }, range: [-2, -0.3] }),
  one("HardSigmoid", { range: [-2, 2] }),
  one("HardSigmoid", { note: "beyond", range: [3, 4] }),
  one("HardSwish", { range: [-2.5, 2.5] }),
  one("HardSwish", { note: "beyond", range: [3.5, 4] }),
  one("Gelu", { opset: 20 }),
  one("Gelu", { note: "tanh", opset: 20, attributes: { approximate: string("tanh") } }),
  one("Gelu", { domain: ms }),
  one("QuickGelu", { domain: ms }),
  one("QuickGelu", { note: "alpha 1", domain: ms, attributes: { alpha: float(1) } }),
  one("Clip", { inputs: [[2, 3], float32([], [-3]), float32([], [3])] }),
  one("Clip", { note: "beyond", range: [0.5, 1], inputs: [[2, 3], float32([], [-1]), float32([], [0.2])] }),
  one("Dropout"),
  one("Dropout", { note: "a mask that nothing reads", unread: 1, kernels: "onnxruntime" }),
  {
    op: "TopK",
    inputs: [[3, 5], list(2)],
    apart: true,
    unread: 1,
    kernels: "onnxruntime",
  },
  {
    op: "TopK",
    note: "the smallest of an inner axis",
    inputs: [[3, 5, 2], list(3)],
    apart: true,
    unread: 1,
    kernels: "onnxruntime",
    attributes: { axis: int(1), largest: int(0) },
  },
  one("Cast", { attributes: { to: int(1) } }),
  { op: "CastLike", inputs: [[2, 3], float32([], [0])] },
  { op: "PRelu", inputs: [[2, 3], [3]], range: [0.3, 1] },
  { op: "PRelu", note: "negative", inputs: [[2, 3], [3]], range: [-1, -0.3] },
];

const BROADCASTS: readonly (readonly [readonly number[], readonly number[]])[] = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [[3], [4, 2, 3]],
  [
    [2, 1, 3],
    [4, 1],
  ],
  [[], [2, 2]],
];

const ARITHMETIC: readonly RuleCase[] = [
  ...["Add", "Sub", "Mul"].flatMap((op) => BROADCASTS.map((inputs): RuleCase => ({ op, inputs }))),
  ...["Max", "Min"].flatMap((op) => BROADCASTS.map((inputs): RuleCase => ({ op, inputs, apart: true }))),
  ...BROADCASTS.map((inputs): RuleCase => ({ op: "Div", inputs, range: [0.5, 2] })),
  ...BROADCASTS.map((inputs): RuleCase => ({ op: "Pow", inputs, range: [0.5, 2] })),
  { op: "Pow", note: "square", inputs: [[2, 3], float32([], [2])] },
  { op: "Pow", note: "cube of negatives", inputs: [[2, 3], float32([], [3])] },
  ...["Sum", "Mean", "Max", "Min"].map(
    (op): RuleCase => ({ op, note: "three", inputs: [[2, 3], [3], [2, 1]] }),
  ),
  { op: "Where", inputs: [bools([2, 1], [1, 0]), [2, 3], [3]] },
];

const PRODUCTS: readonly RuleCase[] = [
  {
    op: "MatMul",
    inputs: [
      [2, 3],
      [3, 4],
    ],
  },
  {
    op: "MatMul",
    note: "rows of a batch",
    inputs: [
      [2, 5, 3],
      [3, 4],
    ],
  },
  {
    op: "MatMul",
    note: "batches",
    inputs: [
      [2, 2, 3],
      [2, 3, 4],
    ],
  },
  {
    op: "MatMul",
    note: "broadcast batches",
    inputs: [
      [2, 1, 2, 3],
      [4, 3, 2],
    ],
  },
  {
    op: "MatMul",
    note: "batch on the right",
    inputs: [
      [2, 3],
      [5, 3, 4],
    ],
  },
  { op: "MatMul", note: "a row", inputs: [[3], [3, 4]] },
  { op: "MatMul", note: "a column", inputs: [[2, 2, 3], [3]] },
  { op: "MatMul", note: "a row and a column", inputs: [[3], [3]] },
  { op: "MatMul", note: "a row and a batch", inputs: [[3], [2, 3, 4]] },
  { op: "Gemm", inputs: [[2, 3], [3, 4], [4]] },
  {
    op: "Gemm",
    note: "no C",
    inputs: [
      [2, 3],
      [3, 4],
    ],
    attributes: { alpha: float(0.5) },
  },
  {
    op: "Gemm",
    note: "transposed",
    inputs: [
      [3, 2],
      [4, 3],
      [2, 1],
    ],
    attributes: { transA: int(1), transB: int(1), alpha: float(2), beta: float(0.5) },
  },
  {
    op: "Einsum",
    inputs: [
      [2, 3],
      [3, 4],
    ],
    attributes: { equation: string("ij,jk->ik") },
  },
  {
    op: "Einsum",
    note: "summed axis",
    inputs: [
      [2, 3, 2],
      [2, 4, 2],
    ],
    attributes: { equation: string("bid,bjd->bij") },
  },
  {
    op: "Einsum",
    note: "an operand alone has an axis",
    inputs: [[2, 3], [2]],
    attributes: { equation: string("ij,i->i") },
  },
  {
    op: "Einsum",
    note: "an ellipsis",
    kernels: "onnxruntime",
    inputs: [
      [2, 4, 3],
      [2, 4, 3],
    ],
    attributes: { equation: string("...i,...i->...") },
  },
  {
    op: "Einsum",
    note: "an ellipsis, no result stated",
    kernels: "onnxruntime",
    inputs: [
      [2, 2, 3],
      [3, 4],
    ],
    attributes: { equation: string("...ij,jk") },
  },
  { op: "Conv", inputs: [[2, 3, 5, 5], [4, 3, 3, 3], [4]] },
  {
    op: "Conv",
    note: "strides, pads",
    inputs: [
      [1, 2, 6, 7],
      [3, 2, 3, 2],
    ],
    attributes: { strides: ints([2, 3]), pads: ints([1, 0, 1, 1]) },
  },
  {
    op: "Conv",
    note: "dilations",
    inputs: [
      [1, 2, 7, 7],
      [2, 2, 2, 3],
    ],
    attributes: { dilations: ints([2, 2]) },
  },
  {
    op: "Conv",
    note: "groups",
    inputs: [
      [2, 4, 5, 5],
      [6, 2, 3, 3],
    ],
    attributes: { group: int(2) },
  },
  {
    op: "Conv",
    note: "one axis",
    inputs: [[2, 3, 8], [4, 3, 3], [4]],
    attributes: { strides: ints([2]), pads: ints([1, 1]) },
  },
  {
    op: "Conv",
    note: "patches",
    inputs: [[1, 3, 4, 4], [5, 3, 2, 2], [5]],
    attributes: { strides: ints([2, 2]) },
  },
  {
    op: "AveragePool",
    inputs: [[1, 2, 4, 4]],
    attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
  },
  { op: "GlobalAveragePool", inputs: [[2, 3, 4, 2]] },
  {
    op: "MaxPool",
    kernels: "onnxruntime",
    inputs: [[1, 2, 4, 4]],
    apart: true,
    attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
  },
  {
    op: "MaxPool",
    note: "overlapping, padded",
    kernels: "onnxruntime",
    inputs: [[1, 2, 4, 5]],
    apart: true,
    attributes: { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) },
  },
];

const LAYOUT: readonly RuleCase[] = [
  { op: "Reshape", inputs: [[2, 6], list(3, -1)] },
  { op: "Squeeze", inputs: [[2, 1, 3], list(1)] },
  { op: "Unsqueeze", inputs: [[2, 3], list(0, -1)] },
  { op: "Flatten", inputs: [[2, 3, 2]], attributes: { axis: int(2) } },
  { op: "Transpose", inputs: [[2, 3, 4]], attributes: { perm: ints([2, 0, 1]) } },
  { op: "Transpose", note: "reversed", inputs: [[2, 3, 4]] },
  {
    op: "Concat",
    inputs: [
      [2, 3],
      [2, 1],
      [2, 2],
    ],
    attributes: { axis: int(-1) },
  },
  { op: "Split", inputs: [[2, 6], list(1, 3, 2)], attributes: { axis: int(1) }, outputs: 3 },
  {
    op: "Split",
    note: "unequal by count",
    inputs: [[7, 2]],
    attributes: { num_outputs: int(3) },
    outputs: 3,
  },
  { op: "Slice", inputs: [[4, 6], list(1, -4), list(3, 6), list(0, 1)] },
  { op: "Slice", note: "steps", inputs: [[5, 7], list(0, 1), list(5, 7), list(0, 1), list(2, 3)] },
  { op: "Slice", note: "backwards", inputs: [[4, 6], list(-1), list(-100), list(1), list(-2)] },
  { op: "Pad", inputs: [[2, 3], list(1, 0, 0, 2)] },
  { op: "Pad", note: "axes", inputs: [[2, 3], list(1, 2), null, list(-1)] },
  { op: "Pad", note: "cuts", kernels: "onnxruntime", inputs: [[3, 4], list(-1, 2, 1, -1)] },
  { op: "Expand", inputs: [[2, 1, 3], list(4, 2, 5, 3)] },
  { op: "Tile", inputs: [[2, 3], list(2, 3)] },
  { op: "Trilu", inputs: [[2, 3, 3]], attributes: { upper: int(0) } },
  { op: "Trilu", note: "diagonal", inputs: [[3, 4], { ints: [1], shape: [] }] },
  { op: "DepthToSpace", inputs: [[1, 8, 2, 3]], attributes: { blocksize: int(2) } },
  {
    op: "DepthToSpace",
    note: "channels in front, as a pixel shuffle has them",
    kernels: "onnxruntime",
    inputs: [[2, 8, 2, 3]],
    attributes: { blocksize: int(2), mode: string("CRD") },
  },
  { op: "SpaceToDepth", inputs: [[1, 2, 4, 6]], attributes: { blocksize: int(2) } },
  { op: "Gather", inputs: [[4, 3], { ints: [2, 0, 2, -1], shape: [2, 2] }] },
  { op: "Gather", note: "inner axis", inputs: [[2, 4, 3], list(3, 1, 1)], attributes: { axis: int(1) } },
  {
    op: "Gather",
    note: "scalar index",
    inputs: [[2, 4], { ints: [1], shape: [] }],
    attributes: { axis: int(-1) },
  },
  { op: "GatherND", inputs: [[3, 4, 2], { ints: [0, 1, 2, 3, 0, 1], shape: [3, 2] }] },
  {
    op: "GatherND",
    note: "from the end, in part",
    kernels: "onnxruntime",
    inputs: [[3, 4, 2], { ints: [-1, 1, 0, -4], shape: [2, 2] }],
  },
  {
    op: "GatherND",
    note: "an axis of batches",
    kernels: "onnxruntime",
    inputs: [[2, 3, 4], { ints: [1, 0, -1, 1], shape: [2, 2, 1] }],
    attributes: { batch_dims: int(1) },
  },
  {
    op: "GatherElements",
    inputs: [[3, 3], { ints: [1, 0, 2, 1, 1, 0], shape: [2, 3] }],
    attributes: { axis: int(0) },
  },
  { op: "ScatterND", inputs: [[4, 2], { ints: [3, 0], shape: [2, 1] }, [2, 2]] },
  {
    op: "ScatterND",
    note: "adds",
    inputs: [[4, 2], { ints: [3, 3], shape: [2, 1] }, [2, 2]],
    attributes: { reduction: string("add") },
  },
  { op: "ScatterElements", inputs: [[3, 3], { ints: [1, 0, 2], shape: [1, 3] }, [1, 3]] },
  {
    op: "ScatterElements",
    note: "adds",
    inputs: [[3, 3], { ints: [1, 1, 2, 1, 0, 0], shape: [2, 3] }, [2, 3]],
    attributes: { reduction: string("add") },
  },
  { op: "CumSum", inputs: [[3, 4], { ints: [1], shape: [] }] },
  {
    op: "CumSum",
    note: "exclusive, reverse",
    inputs: [[3, 4], { ints: [0], shape: [] }],
    attributes: { exclusive: int(1), reverse: int(1) },
  },
  {
    op: "Resize",
    inputs: [[1, 2, 3, 3], null, float32([4], [1, 1, 2, 2])],
    attributes: { mode: string("linear") },
  },
  {
    op: "Resize",
    note: "sizes, aligned corners",
    inputs: [[1, 1, 4, 3], null, null, list(1, 1, 7, 5)],
    attributes: { mode: string("linear"), coordinate_transformation_mode: string("align_corners") },
  },
  {
    op: "Resize",
    note: "some axes, by scale",
    inputs: [[1, 2, 3, 3], null, float32([2], [1.4, 2.5])],
    attributes: { mode: string("linear"), axes: ints([2, -1]) },
  },
  {
    op: "Resize",
    note: "nearest",
    inputs: [[1, 2, 2, 3], null, float32([4], [1, 1, 2, 3])],
    attributes: {
      mode: string("nearest"),
      coordinate_transformation_mode: string("asymmetric"),
      nearest_mode: string("floor"),
    },
  },
  {
    op: "Resize",
    note: "smaller",
    inputs: [[1, 1, 6, 4], null, float32([4], [1, 1, 0.5, 0.5])],
    attributes: { mode: string("linear") },
  },
  {
    op: "Resize",
    note: "smaller, antialias",
    inputs: [[1, 1, 6, 5], null, null, list(1, 1, 3, 2)],
    attributes: { mode: string("linear"), antialias: int(1) },
  },
  {
    op: "Resize",
    note: "cubic",
    inputs: [[1, 2, 3, 4], null, null, list(1, 2, 5, 7)],
    attributes: { mode: string("cubic") },
  },
  {
    op: "Resize",
    note: "cubic, as PyTorch exports it",
    inputs: [[1, 2, 3, 4], null, null, list(1, 2, 5, 3)],
    attributes: {
      mode: string("cubic"),
      cubic_coeff_a: float(-0.75),
      coordinate_transformation_mode: string("pytorch_half_pixel"),
    },
  },
  {
    op: "Resize",
    note: "cubic, smaller, antialias",
    inputs: [[1, 1, 8, 7], null, null, list(1, 1, 3, 4)],
    attributes: { mode: string("cubic"), antialias: int(1), cubic_coeff_a: float(-0.5) },
  },
  {
    op: "Resize",
    note: "cubic, nothing from outside",
    inputs: [[1, 1, 4, 3], null, float32([4], [1, 1, 2, 3])],
    attributes: { mode: string("cubic"), exclude_outside: int(1) },
  },
];

const reductionCases = (op: string, range: readonly [number, number] = [0.5, 2]): readonly RuleCase[] => [
  { op, inputs: [[2, 3, 4], list(1)], range },
  { op, note: "dropped", inputs: [[2, 3, 4], list(-1, 0)], range, attributes: { keepdims: int(0) } },
  { op, note: "all axes", inputs: [[2, 3]], range },
];

const REDUCTIONS: readonly RuleCase[] = [
  ..."Sum Mean Max Min Prod L1 L2 LogSum LogSumExp SumSquare"
    .split(" ")
    .flatMap((name) => reductionCases(`Reduce${name}`)),
  ...["Softmax", "LogSoftmax"].flatMap((op): RuleCase[] => [
    { op, inputs: [[2, 3, 4]] },
    { op, note: "inner axis", inputs: [[2, 3, 4]], attributes: { axis: int(1) } },
  ]),
  { op: "LayerNormalization", inputs: [[2, 3, 5], [5], [5]] },
  {
    op: "LayerNormalization",
    note: "two axes, no bias",
    inputs: [
      [2, 3, 5],
      [3, 5],
    ],
    attributes: { axis: int(1) },
  },
  {
    op: "SimplifiedLayerNormalization",
    inputs: [[2, 3, 5], [5]],
    attributes: { axis: int(-1), epsilon: float(1e-5) },
  },
  { op: "RMSNormalization", inputs: [[2, 3, 5], [5]], opset: 23 },
  { op: "GroupNormalization", inputs: [[2, 4, 3], [4], [4]], attributes: { num_groups: int(2) }, opset: 21 },
  { op: "InstanceNormalization", inputs: [[2, 3, 5], [3], [3]] },
  {
    op: "BatchNormalization",
    inputs: [[2, 3, 4], [3], [3], float32([3], [0.1, 0.2, 0.3]), float32([3], [1, 2, 0.5])],
  },
];

export const RULE_CASES: readonly RuleCase[] = [
  ...UNARY,
  ...ARITHMETIC,
  ...PRODUCTS,
  ...LAYOUT,
  ...REDUCTIONS,
  ...ATTENTION,
  ...FUSED,
  ...QUANTIZED,
];
