import { z } from "zod";
import { scaleOf } from "../../adapters/adapter.ts";
import { productNorm } from "../../adapters/lora-algebra.ts";
import { moduleFactors, modulesOf } from "../modules.ts";
import { paddedSum } from "../padding.ts";
import { defineStrategy, EMPTY_STATE, type Needs } from "../strategy.ts";
import { like, mapGlobal, meanOf } from "../weighted-mean.ts";
import { sum } from "../weights.ts";

/** What rules can that pad factors of several ranks. */
export const paddingNeeds: Needs = {
  minUpdates: 1,
  readsSingleUpdates: true,
  space: "factors",
  separable: "module",
  heterogeneousRanks: true,
  missingTensors: true,
  quantizedBase: true,
};

/**
 * HetLoRA: factors of several ranks are padded with zeros to the global rank and averaged; a client counts by the
 * size of its update, because small updates of large rank carry little.
 *
 *   weight_k = ||B_k A_k||_F / Σ_j ||B_j A_j||_F      A = Σ weight_k pad(A_k)      B = Σ weight_k pad(B_k)
 *
 * The zeros enter the average, which thins the rows that few clients have; rank-wise-mean.ts does not do that.
 * Where scales α_k/r_k differ, a client's scale goes into its B. Clients are handed the first r_k rows. Tensors
 * beside the factors are averaged by examples.
 *
 *   client   + λ Σ_modules ||B[:, > γr]||_F ||A[> γr, :]||_F
 *            after training r_k ← max(r_min, ⌊γ r_k⌋), where the sum over modules fell below what was handed out
 *
 * The coordinator keeps each client's rank and hands it that many rows. λ = 0 and γ = 1, the defaults, leave all of
 * this out; preset paper has it.
 *
 * Source: Cho et al. 2024, sections 3.2 and 3.3, https://arxiv.org/abs/2401.06432
 */
export const hetLora = defineStrategy({
  name: "hetlora",
  needs: ({ normOf, keep }) => ({
    ...paddingNeeds,
    separable: normOf === "module" ? "module" : "adapter",
    prunesRanks: keep < 1,
  }),
  config: z.strictObject({
    normOf: z
      .enum(["adapter", "module"])
      .default("adapter")
      .describe("one weight for each client, from all its modules together, or one for each module"),
    lambda: z.number().min(0).default(0).describe("λ, how strongly a client's last rows are held near 0"),
    keep: z
      .number()
      .positive()
      .max(1)
      .default(1)
      .describe("γ, the share of its rank that a client keeps; 1 prunes none"),
    leastRank: z.int().positive().default(4).describe("r_min, below which no rank is pruned"),
  }),
  presets: { paper: { normOf: "adapter", lambda: 0.01, keep: 0.99, leastRank: 4 } },
  build: ({ normOf, lambda, keep, leastRank }) => ({
    init: () => EMPTY_STATE,
    plan({ scalars }, { client, global }) {
      const rank = scalars[rankOf(client)] ?? global.config.rank;
      return {
        ...(lambda > 0 && keep < 1 && { regularizers: { tail: { lambda, keep } } }),
        ...(keep < 1 && { prune: { keep, leastRank } }),
        ...(rank < global.config.rank && { rank }),
      };
    },
    aggregate(state, { global }, updates) {
      const { pairs, others } = modulesOf(global.tensors.keys());
      const norms = pairs.map((pair) =>
        updates.clients.map((_, k) => {
          const sent = moduleFactors(updates, k, pair);
          return sent === undefined ? 0 : productNorm(sent.factors);
        }),
      );
      const whole = updates.clients.map((_, k) => Math.hypot(...norms.map((row) => row[k]!)));
      const outside = new Set(others);
      const examples = updates.clients.map((info) => info.examples);
      const next = mapGlobal(global, updates, (name) =>
        outside.has(name) ? meanOf(updates, name, examples) : undefined,
      );
      const tensors = new Map(next.tensors);
      for (const [at, pair] of pairs.entries()) {
        const weights = normOf === "module" ? norms[at]! : whole;
        const present = updates.clients.flatMap((_, k) => {
          const sent = moduleFactors(updates, k, pair);
          return sent === undefined ? [] : [{ ...sent, weight: weights[k]! }];
        });
        if (present.length === 0) continue;
        const total = sum(present.map(({ weight }) => weight));
        const scale = scaleOf(global.config, pair.module);
        const [a, b] = [global.tensors.get(pair.a)!, global.tensors.get(pair.b)!];
        const parts = present.map((part) => ({
          factors: part.factors,
          share: total === 0 ? 1 / present.length : part.weight / total,
          scale: part.scale / scale,
        }));
        const padded = paddedSum(parts, a.shape[0]!);
        tensors.set(pair.a, like(a, padded.a.data));
        tensors.set(pair.b, like(b, padded.b.data));
      }
      const ranks = updates.clients.map(({ client, adapter }) => [rankOf(client), adapter.rank] as const);
      return {
        state: keep < 1 ? { ...state, scalars: { ...state.scalars, ...Object.fromEntries(ranks) } } : state,
        global: { config: global.config, tensors },
        report: { leastRank: Math.min(...ranks.map(([, rank]) => rank)) },
      };
    },
  }),
});

/** Where the state has a client's rank. */
function rankOf(client: string): string {
  return `rank.${client}`;
}
