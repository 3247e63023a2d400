/** ||s_k B_k A_k − s B A|| of each client, over all modules and the tensors beside them, without dense products. */
import type { Adapter } from "../adapters/adapter.ts";
import { differenceOf, squaredNorm } from "./differences.ts";
import { moduleFactors, modulesOf, scaledFactors, squaredProductDistance } from "./modules.ts";
import type { Updates } from "./strategy.ts";

export function productNorms(updates: Updates, global: Adapter): number[] {
  const { pairs, others } = modulesOf(global.tensors.keys());
  const squared = updates.clients.map(() => 0);
  for (const pair of pairs) {
    const own = scaledFactors(global.config, pair, global.tensors.get(pair.a)!, global.tensors.get(pair.b)!);
    for (const k of updates.clients.keys()) {
      const sent = moduleFactors(updates, k, pair);
      if (sent === undefined) continue;
      squared[k]! += squaredProductDistance(sent, own);
    }
  }
  for (const name of others) {
    for (const k of updates.clients.keys()) {
      const difference = differenceOf(updates, k, name, global.tensors.get(name)!);
      if (difference !== undefined) squared[k]! += squaredNorm(difference);
    }
  }
  return squared.map(Math.sqrt);
}
