/** The operators that are replaced by simpler ones before differentiation. */
import { attention } from "./attention.ts";
import { biasGelu, fastGelu, fusedMatMul, rmsNormalization, swish, turned } from "./fused.ts";
import { groupQueryAttention } from "./group-query-attention.ts";
import { loraInput, loraOutput } from "./lora-input.ts";
import type { Lowering } from "./lowering.ts";
import { multiHeadAttention, qkvAttention } from "./multi-head-attention.ts";
import {
  batchNormalization,
  embedLayerNormalization,
  groupNormalization,
  instanceNormalization,
  skipLayerNormalization,
  skipSimplifiedLayerNormalization,
} from "./normalizations.ts";
import { resize } from "./resize.ts";
import { msRotaryEmbedding, rotaryEmbedding } from "./rotary.ts";
import { softmaxFrom } from "./softmax-from.ts";

export const LOWERINGS: readonly Lowering[] = [
  attention,
  batchNormalization,
  biasGelu,
  embedLayerNormalization,
  fastGelu,
  fusedMatMul,
  groupNormalization,
  groupQueryAttention,
  instanceNormalization,
  loraInput,
  loraOutput,
  msRotaryEmbedding,
  multiHeadAttention,
  qkvAttention,
  resize,
  rmsNormalization,
  rotaryEmbedding,
  skipLayerNormalization,
  skipSimplifiedLayerNormalization,
  softmaxFrom,
  swish,
  turned,
];
