/** The global adapter as a client of another rank is handed it. */
import { type Adapter, type AdapterConfig, scaleOf } from "./adapter.ts";
import { type FloatDType, floatTensor } from "./cast.ts";
import { factorsOf } from "./lora-algebra.ts";
import { matrix } from "./matrix.ts";
import type { Tensor } from "./tensor.ts";
import { factorPairs } from "./tensor-names.ts";

/**
 * The first r_k rows of A and columns of B, zeros beyond what there is, with the scales' quotient in B: the product
 * s_k B A is that of the kept components. FlexLoRA orders them by size, so what is cut off is the least; HetLoRA
 * and the rank-wise mean hand out the same rows that they average.
 *
 * @param client rank and alpha of the client; the rest of its configuration is the global adapter's
 */
export function handOut(global: Adapter, client: Pick<AdapterConfig, "rank" | "alpha">): Adapter {
  const { config } = global;
  if (client.rank === config.rank && client.alpha === config.alpha) return global;
  const own: AdapterConfig = {
    ...config,
    rank: client.rank,
    alpha: client.alpha,
    rankPattern: {},
    alphaPattern: {},
  };
  const tensors = new Map<string, Tensor>(global.tensors);
  for (const pair of factorPairs(global.tensors.keys())) {
    const { a, b } = factorsOf(global.tensors, pair);
    const quotient = scaleOf(config, pair.module) / scaleOf(own, pair.module);
    const nextA = matrix(own.rank, a.cols);
    const nextB = matrix(b.rows, own.rank);
    for (let j = 0; j < Math.min(own.rank, a.rows); j++) {
      for (let i = 0; i < a.cols; i++) nextA.data[j * a.cols + i] = a.data[j * a.cols + i]!;
      for (let i = 0; i < b.rows; i++) nextB.data[i * own.rank + j] = quotient * b.data[i * b.cols + j]!;
    }
    const dtypeOf = (name: string) => global.tensors.get(name)!.dtype as FloatDType; // factors are floats
    tensors.set(pair.a, floatTensor(dtypeOf(pair.a), [own.rank, a.cols], nextA.data));
    tensors.set(pair.b, floatTensor(dtypeOf(pair.b), [b.rows, own.rank], nextB.data));
  }
  return { config: own, tensors };
}

/** The same at another rank and the scale as before: only rows of A and columns of B go or come. */
export function atRank(adapter: Adapter, rank: number): Adapter {
  const { config } = adapter;
  // The scale is alpha / r, with rsLoRA alpha / sqrt(r).
  const share = rank / config.rank;
  return handOut(adapter, { rank, alpha: config.alpha * (config.rslora ? Math.sqrt(share) : share) });
}
