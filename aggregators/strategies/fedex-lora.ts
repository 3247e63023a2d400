import { z } from "zod";
import { scaleOf } from "../../adapters/adapter.ts";
import { factorsOf, truncate } from "../../adapters/lora-algebra.ts";
import { combine } from "../combination.ts";
import { moduleFactors, modulesOf } from "../modules.ts";
import { meanMinus } from "../product-error.ts";
import { addSideFactors, baseDeltaOf, longestRank, type SideFactor } from "../side-factors.ts";
import { defineStrategy } from "../strategy.ts";
import { sum, weightsOf, weightsOption } from "../weights.ts";
import { maxRankOption } from "./flora.ts";

/**
 * FedEx-LoRA: A and B are averaged apart, and the error of that is added to the base, so that base and adapter
 * together are exactly the mean of the products.
 *
 *   Ā = Σ p_k A_k      B̄ = Σ p_k B_k      ΔW ← ΔW + s (Σ p_k B_k A_k − B̄ Ā)
 *
 * The residual has rank (m − 1) r at most and travels as side factors of that rank, not as a dense matrix.
 * The paper weighs clients uniformly.
 *
 * Source: Singhal et al. 2025, section 4, https://arxiv.org/abs/2410.09432
 */
export const fedExLora = defineStrategy({
  name: "fedex-lora",
  needs: {
    minUpdates: 1,
    readsSingleUpdates: true,
    space: "products",
    separable: "adapter",
    missingTensors: true,
    quantizedBase: true,
    changesBase: true,
  },
  config: z.strictObject({ weights: weightsOption.default("uniform"), maxRank: maxRankOption }),
  presets: { paper: {} },
  build: ({ weights: axis, maxRank }) => ({
    init: () => ({ scalars: {}, tensors: { side: new Map() } }),
    aggregate(state, { global }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const next = combine(global, updates, { clients: weights, global: 0 }, "factors");
      const added: SideFactor[] = [];
      for (const pair of modulesOf(global.tensors.keys()).pairs) {
        const parts = updates.clients.flatMap((_, k) => {
          const sent = moduleFactors(updates, k, pair);
          return sent === undefined ? [] : [{ ...sent, weight: weights[k]! }];
        });
        if (parts.length < 2) continue;
        const total = sum(parts.map(({ weight }) => weight));
        // The mean as it is handed out, rounded to the adapter's type: the residual takes up the rounding as well.
        const mean = factorsOf(next.tensors, pair);
        const residual = meanMinus(
          { factors: mean, scale: scaleOf(global.config, pair.module) },
          parts,
          parts.map(({ weight }) => weight / total),
        );
        const rank = Math.min((parts.length - 1) * mean.a.rows, mean.b.rows, mean.a.cols);
        added.push({ pair, factors: truncate(residual, rank) });
      }
      const side = addSideFactors(state.tensors.side, added, maxRank);
      return {
        state: { scalars: {}, tensors: { side } },
        global: next,
        ...(side.size > 0 && { baseDelta: baseDeltaOf(global, side) }),
        report: { sideRank: longestRank(side) },
      };
    },
  }),
});
