/**
 * What is added to the frozen base beside the adapter: the sum of all rounds so far, as factors of scale 1, so that
 * it also works on a base whose weights are too coarse to be changed (int8, int4), and a client that joins late
 * needs nothing but the latest. Exact until a module's factors grow beyond `maxRank`; then the best of that rank.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { type Factors, factorsOf, stackFactors, truncate } from "../adapters/lora-algebra.ts";
import { tensorOf } from "../adapters/matrix.ts";
import { withModuleScales } from "../adapters/side-factors.ts";
import { type Tensor, type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { type FactorPair, factorPairs } from "../adapters/tensor-names.ts";

export interface SideFactor {
  readonly pair: FactorPair;
  /** Already multiplied with its scale. */
  readonly factors: Factors;
}

/** @returns float64 factors of the sum, for the state */
export function addSideFactors(
  sofar: TensorSet | undefined,
  added: readonly SideFactor[],
  maxRank: number,
): TensorSet {
  const tensors = new Map<string, Tensor>(sofar);
  for (const { pair, factors } of added) {
    const whole = sofar?.has(pair.a) ? stackFactors([factorsOf(sofar, pair), factors], [1, 1]) : factors;
    const limit = Math.min(maxRank, whole.b.rows, whole.a.cols);
    const kept = whole.a.rows > limit ? truncate(whole, limit) : whole;
    tensors.set(pair.a, tensorOf(kept.a, "F64"));
    tensors.set(pair.b, tensorOf(kept.b, "F64"));
  }
  return tensorSet(tensors);
}

/** The sum as an adapter of its own, with alpha = rank for every module, in the type of the global adapter. */
export function baseDeltaOf(global: Adapter, side: TensorSet): Adapter {
  const pairs = factorPairs(side.keys());
  const scales = new Map(
    pairs.map(({ module, a }) => [module, { rank: side.get(a)!.shape[0]!, alpha: side.get(a)!.shape[0]! }]),
  );
  const plain = { ...global.config, rslora: false, dropout: 0, modulesToSave: [] };
  const config = withModuleScales({ ...plain, targets: pairs.map(({ module }) => module) }, scales);
  const tensors = pairs.flatMap((pair) => {
    const { a, b } = factorsOf(side, pair);
    const dtype = global.tensors.get(pair.a)!.dtype as "F32"; // factors are floats, as the update check wants
    return [
      [pair.a, tensorOf(a, dtype)],
      [pair.b, tensorOf(b, dtype)],
    ] as const;
  });
  return { config, tensors: tensorSet(tensors) };
}

/** Of the module with the longest factors; 0 where there are none. */
export function longestRank(side: TensorSet): number {
  return Math.max(0, ...factorPairs(side.keys()).map(({ a }) => side.get(a)!.shape[0]!));
}
