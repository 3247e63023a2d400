import { z } from "zod";
import { scaleOf } from "../../adapters/adapter.ts";
import { factorsOf } from "../../adapters/lora-algebra.ts";
import { moduleFactors, modulesOf } from "../modules.ts";
import { rankwiseSum } from "../padding.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { like, mapGlobal, meanOf } from "../weighted-mean.ts";
import { sum, weightsOf, weightsOption } from "../weights.ts";
import { paddingNeeds } from "./hetlora.ts";

/**
 * Rank-wise mean: row j of A and column j of B are averaged over the clients whose rank reaches j, so that the
 * clients of low rank do not thin the rows that only the others have.
 *
 *   A[j] = Σ_{k: r_k ≥ j} n_k A_k[j] / Σ_{k: r_k ≥ j} n_k      B's columns likewise
 *
 * Where no client reaches row j, the old row stays. Scales α_k/r_k that differ go into B.
 *
 * Source: FediLoRA, section on dimension-wise aggregation, https://arxiv.org/abs/2509.06984
 */
export const rankWiseMean = defineStrategy({
  name: "rank-wise-mean",
  needs: paddingNeeds,
  config: z.strictObject({ weights: weightsOption.default("examples") }),
  presets: { paper: {} },
  build: ({ weights: axis }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const { pairs, others } = modulesOf(global.tensors.keys());
      const outside = new Set(others);
      const next = mapGlobal(global, updates, (name) =>
        outside.has(name) ? meanOf(updates, name, weights) : undefined,
      );
      const tensors = new Map(next.tensors);
      for (const pair of pairs) {
        const scale = scaleOf(global.config, pair.module);
        const parts = updates.clients.flatMap((_, k) => {
          const sent = moduleFactors(updates, k, pair);
          return sent === undefined
            ? []
            : [{ factors: sent.factors, share: weights[k]!, scale: sent.scale / scale }];
        });
        if (parts.length === 0) continue;
        const [a, b] = [global.tensors.get(pair.a)!, global.tensors.get(pair.b)!];
        const rank = a.shape[0]!;
        const reach = Array.from({ length: rank }, (_, j) =>
          sum(parts.map(({ factors, share }) => (factors.a.rows > j ? share : 0))),
        );
        const mean = rankwiseSum(parts, rank, (j) => reach[j]!);
        const old = factorsOf(global.tensors, pair);
        for (let j = 0; j < rank; j++) {
          if (reach[j] !== 0) continue;
          for (let i = 0; i < mean.a.cols; i++)
            mean.a.data[j * mean.a.cols + i] = old.a.data[j * mean.a.cols + i]!;
          for (let i = 0; i < mean.b.rows; i++) mean.b.data[i * rank + j] = old.b.data[i * rank + j]!;
        }
        tensors.set(pair.a, like(a, mean.a.data));
        tensors.set(pair.b, like(b, mean.b.data));
      }
      return { state, global: { config: global.config, tensors }, report: {} };
    },
  }),
});
