/**
 * Training the core of an adapter (adapters/core.ts): W = W0 + s B R A with A and B fixed. The engine sees the
 * ordinary adapter A, B' = B R, and the chain rule does the rest:
 *
 *   dR = Bᵀ dB'
 */
import { corePairs, foldCore } from "../adapters/core.ts";
import { matrixOf, tensorOf, transposeMultiply } from "../adapters/matrix.ts";
import { type TensorSet, tensorSet } from "../adapters/tensor.ts";
import type { View } from "./view.ts";

/** @param tensors of an adapter with cores, which alone are trained */
export function overCore(tensors: TensorSet): View {
  const pairs = corePairs(tensors.keys());
  return {
    trainable: new Set(pairs.map(({ core }) => core)),
    inward: foldCore,
    outward: (gradients, own) =>
      tensorSet(
        pairs.flatMap(({ b, core }) => {
          const gradient = gradients.get(b);
          if (gradient === undefined) return [];
          const dR = transposeMultiply(matrixOf(own.get(b)!), matrixOf(gradient));
          return [[core, tensorOf(dR, "F32")] as const];
        }),
      ),
  };
}
