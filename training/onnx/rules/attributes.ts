/**
 * The attributes that rules and lowerings take account of, by operator; one that is not here has none. Newer operator
 * sets add attributes with a meaning of their own (GroupQueryAttention's `causal`), and what is not read must be
 * refused rather than left out.
 */
import { FedloomError } from "../../../base/errors.ts";
import type { Attributes } from "../graph.ts";

const WINDOW = "auto_pad dilations kernel_shape pads strides";
const NORM = "axis epsilon stash_type";
const REDUCTION = "keepdims noop_with_empty_axes";

const KNOWN: Readonly<Record<string, string>> = {
  Attention: "is_causal kv_num_heads q_num_heads qk_matmul_output_mode scale softcap softmax_precision",
  AveragePool: `ceil_mode count_include_pad ${WINDOW}`,
  BatchNormalization: "epsilon momentum training_mode",
  Cast: "round_mode saturate to",
  CastLike: "round_mode saturate",
  Celu: "alpha",
  Concat: "axis",
  Conv: `group ${WINDOW}`,
  CumSum: "exclusive reverse",
  DepthToSpace: "blocksize mode",
  DequantizeLinear: "axis block_size output_dtype",
  Dropout: "ratio seed",
  Einsum: "equation",
  Elu: "alpha",
  Flatten: "axis",
  Gather: "axis",
  GatherElements: "axis",
  GatherND: "batch_dims",
  Gelu: "approximate",
  Gemm: "alpha beta transA transB",
  GroupNormalization: "epsilon num_groups stash_type",
  HardSigmoid: "alpha beta",
  InstanceNormalization: "epsilon",
  LayerNormalization: NORM,
  LeakyRelu: "alpha",
  LogSoftmax: "axis",
  MaxPool: `ceil_mode storage_order ${WINDOW}`,
  Pad: "mode",
  RMSNormalization: NORM,
  ReduceL1: REDUCTION,
  ReduceL2: REDUCTION,
  ReduceLogSum: REDUCTION,
  ReduceLogSumExp: REDUCTION,
  ReduceMax: REDUCTION,
  ReduceMean: REDUCTION,
  ReduceMin: REDUCTION,
  ReduceProd: REDUCTION,
  ReduceSum: REDUCTION,
  ReduceSumSquare: REDUCTION,
  Reshape: "allowzero",
  Resize:
    "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value keep_aspect_ratio_policy mode nearest_mode",
  RotaryEmbedding: "interleaved num_heads rotary_embedding_dim",
  ScatterElements: "axis reduction",
  ScatterND: "reduction",
  Selu: "alpha gamma",
  SimplifiedLayerNormalization: NORM,
  Softmax: "axis",
  SpaceToDepth: "blocksize",
  Split: "axis num_outputs",
  Swish: "alpha",
  ThresholdedRelu: "alpha",
  TopK: "axis largest sorted",
  Transpose: "perm",
  Trilu: "upper",
  "com.microsoft.DequantizeLinear": "axis block_size",
  "com.microsoft.EmbedLayerNormalization": "epsilon mask_index_type",
  "com.microsoft.FusedMatMul": "alpha transA transB transBatchA transBatchB",
  "com.microsoft.GroupQueryAttention":
    "causal do_rotary k_quant_type kv_num_heads local_window_size num_heads qk_norm_epsilon qk_output rotary_interleaved scale smooth_softmax softcap v_quant_type",
  "com.microsoft.MatMulBnb4": "K N block_size quant_type training_mode transB",
  "com.microsoft.MatMulNBits": "K N accuracy_level bits block_size",
  "com.microsoft.MultiHeadAttention": "mask_filter_value num_heads scale unidirectional",
  "com.microsoft.QuickGelu": "alpha",
  "com.microsoft.RotaryEmbedding": "interleaved is_packed_batching num_heads rotary_embedding_dim scale",
  "com.microsoft.SkipLayerNormalization": "epsilon",
  "com.microsoft.SkipSimplifiedLayerNormalization": "epsilon",
  "fedloom.LoraInput": "keep module",
  "fedloom.QkvAttention":
    "do_rotary mask_filter_value num_heads past_present_share_buffer qkv_hidden_sizes rotary_embedding_dim scale unidirectional",
  "fedloom.SoftmaxFrom": "axis log",
  "fedloom.Turned": "transA transBatchA",
};

/** What is done with the operator, for the message: "Cannot differentiate ...". */
type Verb = "differentiate" | "place";

interface Node {
  readonly op: string;
  readonly domain: string;
  readonly name: string;
  readonly attributes: Attributes;
}

/** @throws FedloomError F2111 naming operator, node and attribute */
export function refuseOtherAttributes({ op, domain, name, attributes }: Node, verb: Verb): void {
  const what = domain === "" ? op : `${domain}.${op}`;
  const known = (KNOWN[what] ?? "").split(" ");
  const other = Object.keys(attributes).find((attribute) => !known.includes(attribute));
  if (other === undefined) return;
  throw new FedloomError(
    "F2111",
    `Cannot ${verb} ${what} of node "${name}": its attributes may be ${known.join(", ") || "none"}, got "${other}"`,
    { operator: what, node: name, attribute: other },
  );
}
