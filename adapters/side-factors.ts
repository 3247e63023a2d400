/**
 * An adapter together with what strategies added to its frozen base (FLoRA, FedEx-LoRA): one ordinary adapter of a
 * longer rank, which every engine, exporter and reader of PEFT directories can use.
 *
 *   s·B·A + B'·A' = s · [B, B'/s] · [A; A']
 */
import { type Adapter, type AdapterConfig, alphaOf, rankOf, scaleOf } from "./adapter.ts";
import type { FloatDType } from "./cast.ts";
import { factorsOf, stackFactors } from "./lora-algebra.ts";
import { scale, tensorOf } from "./matrix.ts";
import { type Tensor, type TensorSet, tensorSet } from "./tensor.ts";
import { factorPairs } from "./tensor-names.ts";

/** Rank and alpha of one module. */
export interface ModuleScale {
  readonly rank: number;
  readonly alpha: number;
}

/**
 * A configuration in which each of these modules has its own rank and alpha.
 *
 * Where all agree no patterns are needed. A pattern also matches longer paths that end like it, and the first match
 * counts: the longest paths come first.
 */
export function withModuleScales(
  config: AdapterConfig,
  modules: ReadonlyMap<string, ModuleScale>,
): AdapterConfig {
  const all = [...modules.values()];
  const first = all[0] ?? config;
  if (all.every(({ rank, alpha }) => rank === first.rank && alpha === first.alpha)) {
    return { ...config, rank: first.rank, alpha: first.alpha, rankPattern: {}, alphaPattern: {} };
  }
  const ordered = [...modules].sort(([a], [b]) => b.length - a.length || (a < b ? -1 : 1));
  return {
    ...config,
    rankPattern: Object.fromEntries(ordered.map(([path, { rank }]) => [path, rank])),
    alphaPattern: Object.fromEntries(ordered.map(([path, { alpha }]) => [path, alpha])),
  };
}

/**
 * @param side factors of scale 1, named as the adapter's; modules that the adapter lacks are refused
 * @returns the adapter's own rows of A and columns of B first; scales as before
 * @throws TypeError for side factors of a module that the adapter does not have
 */
export function stackOnBase(adapter: Adapter, side: TensorSet): Adapter {
  const { config } = adapter;
  const tensors = new Map<string, Tensor>(adapter.tensors);
  const scales = new Map<string, ModuleScale>(
    factorPairs(adapter.tensors.keys()).map(({ module }) => [
      module,
      { rank: rankOf(config, module), alpha: alphaOf(config, module) },
    ]),
  );
  for (const pair of factorPairs(side.keys())) {
    const own = adapter.tensors.get(pair.a);
    if (own === undefined)
      throw new TypeError(`The adapter has no module "${pair.module}" for these side factors`);
    const dtype = own.dtype as FloatDType; // factors are floats
    const factor = scaleOf(config, pair.module);
    const { a, b } = factorsOf(side, pair);
    const stacked = stackFactors([factorsOf(adapter.tensors, pair), { a, b: scale(b, 1 / factor) }], [1, 1]);
    tensors.set(pair.a, tensorOf(stacked.a, dtype));
    tensors.set(pair.b, tensorOf(stacked.b, dtype));
    const rank = stacked.a.rows;
    // The scale must stay: alpha grows with the rank, or with its root for rsLoRA.
    scales.set(pair.module, { rank, alpha: factor * (config.rslora ? Math.sqrt(rank) : rank) });
  }
  return { config: withModuleScales(config, scales), tensors: tensorSet(tensors) };
}
