import { z } from "zod";
import { stackFactors } from "../../adapters/lora-algebra.ts";
import { sizeOf, type Tensor } from "../../adapters/tensor.ts";
import type { Rng } from "../../base/rng.ts";
import { moduleFactors, modulesOf } from "../modules.ts";
import { addSideFactors, baseDeltaOf, longestRank, type SideFactor } from "../side-factors.ts";
import { defineStrategy } from "../strategy.ts";
import { like, mapGlobal, meanOf } from "../weighted-mean.ts";
import { sum, weightsOf, weightsOption } from "../weights.ts";

/** Side factors are handed out every round: beyond this they are compressed by SVD. */
export const maxRankOption = z
  .int()
  .positive()
  .default(256)
  .describe("longest side factors; beyond it their sum is compressed by SVD, and no longer exact");

/**
 * FLoRA: the clients' factors are stacked, not averaged: Σ p_k s_k B_k A_k exactly, whatever their ranks. The stack
 * goes to the base as side factors, and the next round starts from a fresh adapter.
 *
 *   A = [p_1 s_1 A_1; …; p_m s_m A_m]      B = [B_1 … B_m]      ΔW ← ΔW + B A
 *
 * p_k multiplies one factor only: on both it would count squared.
 *
 * Source: Wang et al. 2024, section 3.2, https://arxiv.org/abs/2409.05976
 */
export const flora = defineStrategy({
  name: "flora",
  needs: {
    minUpdates: 1,
    readsSingleUpdates: true,
    space: "products",
    separable: "adapter",
    heterogeneousRanks: true,
    missingTensors: true,
    quantizedBase: true,
    changesBase: true,
  },
  config: z.strictObject({
    weights: weightsOption.default("examples"),
    restart: z
      .enum(["random", "keep-a"])
      .default("random")
      .describe("the next round's A: drawn anew, or the one handed out before; B is 0"),
    maxRank: maxRankOption,
  }),
  presets: { paper: {} },
  build: ({ weights: axis, restart, maxRank }) => ({
    init: () => ({ scalars: {}, tensors: { side: new Map() } }),
    aggregate(state, { global, round, rng }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const { pairs, others } = modulesOf(global.tensors.keys());
      const outside = new Set(others);
      const averaged = mapGlobal(global, updates, (name) =>
        outside.has(name) ? meanOf(updates, name, weights) : undefined,
      );
      const tensors = new Map(averaged.tensors);
      const added: SideFactor[] = [];
      for (const pair of pairs) {
        const parts = updates.clients.flatMap((_, k) => {
          const sent = moduleFactors(updates, k, pair);
          return sent === undefined ? [] : [{ ...sent, weight: weights[k]! }];
        });
        if (parts.length === 0) continue;
        const total = sum(parts.map(({ weight }) => weight));
        const shares = parts.map(({ weight, scale }) => (weight / total) * scale);
        added.push({
          pair,
          factors: stackFactors(
            parts.map(({ factors }) => factors),
            shares,
          ),
        });
        const [a, b] = [global.tensors.get(pair.a)!, global.tensors.get(pair.b)!];
        if (restart === "random") tensors.set(pair.a, drawn(a, rng.fork("flora", round, pair.module)));
        tensors.set(pair.b, like(b, new Float64Array(sizeOf(b.shape))));
      }
      const side = addSideFactors(state.tensors.side, added, maxRank);
      const baseDelta = baseDeltaOf(global, side);
      return {
        state: { scalars: {}, tensors: { side } },
        global: { config: global.config, tensors },
        baseDelta,
        report: { sideRank: longestRank(side) },
      };
    },
  }),
});

/** As PEFT draws A: Kaiming's uniform with a = √5, which is U(−1/√in, 1/√in). */
function drawn(a: Tensor, rng: Rng): Tensor {
  const bound = 1 / Math.sqrt(a.shape[1]!);
  return like(
    a,
    Float64Array.from({ length: sizeOf(a.shape) }, () => (2 * rng.uniform() - 1) * bound),
  );
}
