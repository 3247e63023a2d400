/**
 * Whether the runtime's passes over a graph would leave a program as it is, so that the session can open without them: fifty
 * walks over four thousand operations take about half of the time of opening.
 */
import { isOfConstants, type Operation, type Program } from "./program.ts";

/**
 * What decoders and their gradients consist of. Tidied (tidy.ts), their operations are in the form that the passes bring them to;
 * those that pictures and sounds bring (Conv, LayerNormalization, Erf, Tanh) the runtime still fuses with their neighbours.
 */
const SETTLED = new Set(
  `Add And Cast Clip Concat Cos DequantizeLinear Equal Exp Expand FusedMatMul Gather GatherElements GatherND Gemm Greater
  GreaterOrEqual IsNaN Less LessOrEqual Log MatMul MatMulNBits Mul Neg Not Or Pad QuickGelu ReduceMax ReduceMean
  ReduceMin ReduceSum Reshape RotaryEmbedding ScatterElements ScatterND Sigmoid SimplifiedLayerNormalization Sin Slice
  Softmax Split Sub Transpose Where`.split(/\s+/),
);

/** @param program a tidied one */
export function isSettled(program: Program): boolean {
  return program.operations.every((operation) => SETTLED.has(operation.op) && !isFolded(operation));
}

/** What is computed from constants alone the runtime computes while it opens the graph, but for quantized weights. */
const isFolded = (operation: Operation): boolean =>
  operation.op !== "DequantizeLinear" && isOfConstants(operation);
