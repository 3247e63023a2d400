/**
 * Training the core of an adapter (adapters/core.ts): W = W0 + s B R A with A and B fixed. The engine sees the
 * ordinary adapter A, B' = B R, and the chain rule does the rest:
 *
 *   dR = Bᵀ dB'
 */
import { corePairs, foldCore } from "../adapters/core.ts";
import { matrixOf, tensorOf, transposeMultiply } from "../adapters/matrix.ts";
import { type TensorSet, tensorSet } from "../adapters/tensor.ts";
import type { Learner, Row } from "./learner.ts";

/**
 * @param learner of the folded adapter's form
 * @param tensors of an adapter with cores
 * @returns a learner whose trainable tensors are the cores alone
 */
export function overCore<R extends Row>(learner: Learner<R>, tensors: TensorSet): Learner<R> {
  const pairs = corePairs(tensors.keys());
  return {
    trainable: new Set(pairs.map(({ core }) => core)),
    async gradients(rows, parameters, seed) {
      const result = await learner.gradients(rows, foldCore(parameters), seed);
      const own = pairs.flatMap(({ b, core }) => {
        const gradient = result.gradients.get(b);
        if (gradient === undefined) return [];
        const dR = transposeMultiply(matrixOf(parameters.get(b)!), matrixOf(gradient));
        return [[core, tensorOf(dR, "F32")] as const];
      });
      return { ...result, gradients: tensorSet(own) };
    },
    losses: (rows, parameters) => learner.losses(rows, foldCore(parameters)),
  };
}
