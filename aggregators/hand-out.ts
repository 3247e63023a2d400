/** The global adapter as a client of another rank is handed it. */
import { type Adapter, type AdapterConfig, scaleOf } from "../adapters/adapter.ts";
import { factorsOf } from "../adapters/lora-algebra.ts";
import { matrix } from "../adapters/matrix.ts";
import type { Tensor } from "../adapters/tensor.ts";
import { modulesOf } from "./modules.ts";
import { like } from "./weighted-mean.ts";

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
  for (const pair of modulesOf(global.tensors.keys()).pairs) {
    const { a, b } = factorsOf(global.tensors, pair);
    const quotient = scaleOf(config, pair.module) / scaleOf(own, pair.module);
    const nextA = matrix(own.rank, a.cols);
    const nextB = matrix(b.rows, own.rank);
    for (let j = 0; j < Math.min(own.rank, a.rows); j++) {
      for (let i = 0; i < a.cols; i++) nextA.data[j * a.cols + i] = a.data[j * a.cols + i]!;
      for (let i = 0; i < b.rows; i++) nextB.data[i * own.rank + j] = quotient * b.data[i * b.cols + j]!;
    }
    const [oldA, oldB] = [global.tensors.get(pair.a)!, global.tensors.get(pair.b)!];
    tensors.set(pair.a, like({ ...oldA, shape: [own.rank, a.cols] }, nextA.data));
    tensors.set(pair.b, like({ ...oldB, shape: [b.rows, own.rank] }, nextB.data));
  }
  return { config: own, tensors };
}
