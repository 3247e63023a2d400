/** The gradient rules. One that is not here does not exist for the engine. */
import { ARITHMETIC } from "./arithmetic.ts";
import { conv } from "./conv.ts";
import { dequantizeLinear, msDequantizeLinear } from "./dequantize-linear.ts";
import { einsum } from "./einsum.ts";
import { GATHER } from "./gather.ts";
import { gemm } from "./gemm.ts";
import { layerNormalization } from "./layer-normalization.ts";
import { LAYOUT } from "./layout.ts";
import { matMul } from "./matmul.ts";
import { matMulBnb4 } from "./matmul-bnb4.ts";
import { matMulNBits } from "./matmul-nbits.ts";
import { NO_GRADIENT } from "./no-gradient.ts";
import { averagePool, globalAveragePool, maxPool } from "./pool.ts";
import { pow } from "./pow.ts";
import { REDUCE } from "./reduce.ts";
import { rmsNormalization, simplifiedLayerNormalization } from "./rms-normalization.ts";
import { rotaryKernel } from "./rotary.ts";
import type { GradientRule } from "./rule.ts";
import { SELECT } from "./select.ts";
import { logSoftmax, softmax } from "./softmax.ts";
import { quickGelu } from "./swish.ts";
import { UNARY } from "./unary.ts";

export const RULES: readonly GradientRule[] = [
  ...ARITHMETIC,
  ...GATHER,
  ...LAYOUT,
  ...NO_GRADIENT,
  ...REDUCE,
  ...SELECT,
  ...UNARY,
  averagePool,
  conv,
  dequantizeLinear,
  einsum,
  gemm,
  globalAveragePool,
  layerNormalization,
  logSoftmax,
  matMul,
  matMulBnb4,
  matMulNBits,
  maxPool,
  msDequantizeLinear,
  pow,
  quickGelu,
  rmsNormalization,
  rotaryKernel,
  simplifiedLayerNormalization,
  softmax,
];
