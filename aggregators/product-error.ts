/**
 * How far the global factors are from the mean of the clients' products: the error that comes from averaging A
 * and B apart.
 *
 *   ||Σ p_k s_k B_k A_k − s B A||_F / ||Σ p_k s_k B_k A_k||_F
 */
import type { Adapter } from "../adapters/adapter.ts";
import { stackedNorm, stackFactors } from "../adapters/lora-algebra.ts";
import { moduleFactors, modulesOf, scaledFactors } from "./modules.ts";
import type { Updates } from "./strategy.ts";
import { sum } from "./weights.ts";

export interface ProductError {
  /** Over all modules together. */
  readonly total: number;
  readonly byModule: ReadonlyMap<string, number>;
  /** Squared norms of the error and of the exact mean. */
  readonly modules: ReadonlyMap<string, { readonly error: number; readonly size: number }>;
}

/** Cost for m clients of rank r: a QR of out x (m+1) r and one of in x (m+1) r for each module. */
export function productError(global: Adapter, updates: Updates, weights: readonly number[]): ProductError {
  const modules = new Map<string, { error: number; size: number }>();
  let errorSquared = 0;
  let exactSquared = 0;
  for (const pair of modulesOf(global.tensors.keys()).pairs) {
    const present = updates.clients.flatMap((_, k) => {
      const sent = weights[k] === 0 ? undefined : moduleFactors(updates, k, pair);
      return sent === undefined ? [] : [{ ...sent, weight: weights[k]! }];
    });
    if (present.length === 0) continue;
    const total = sum(present.map(({ weight }) => weight));
    const exact = stackFactors(
      present.map(({ factors }) => factors),
      present.map(({ weight, scale }) => (weight / total) * scale),
    );
    const own = scaledFactors(global.config, pair, global.tensors.get(pair.a)!, global.tensors.get(pair.b)!);
    const error = stackedNorm(stackFactors([exact, own.factors], [1, -own.scale]));
    const norm = stackedNorm(exact);
    modules.set(pair.module, { error: error ** 2, size: norm ** 2 });
    errorSquared += error ** 2;
    exactSquared += norm ** 2;
  }
  const relative = (squaredError: number, squaredSize: number) =>
    squaredError === 0 ? 0 : Math.sqrt(squaredError / squaredSize);
  return {
    total: relative(errorSquared, exactSquared),
    byModule: new Map([...modules].map(([module, { error, size }]) => [module, relative(error, size)])),
    modules,
  };
}
