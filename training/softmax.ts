/** Log-softmax in float64, safe from overflow: logits are float32, their exponentials need not be. */
export function logSoftmax(logits: Float32Array): Float64Array {
  const normalizer = logSumExp(logits);
  return Float64Array.from(logits, (logit) => logit - normalizer);
}

/** Log-softmax at one index, without an array for the others. */
export function logSoftmaxAt(logits: Float32Array, index: number): number {
  return logits[index]! - logSumExp(logits);
}

function logSumExp(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > max) max = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  return max + Math.log(sum);
}
