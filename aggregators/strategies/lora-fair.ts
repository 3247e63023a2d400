import { z } from "zod";
import { type Factors, factorsOf, stackFactors } from "../../adapters/lora-algebra.ts";
import { type Matrix, multiply, multiplyTransposed } from "../../adapters/matrix.ts";
import { solvePositive } from "../cholesky.ts";
import { combine } from "../combination.ts";
import { moduleFactors, modulesOf } from "../modules.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { like } from "../weighted-mean.ts";
import { sum, weightsOf, weightsOption } from "../weights.ts";

/**
 * LoRA-FAIR: A and B averaged apart, B̄ then corrected so that the product comes near the mean of the products.
 *
 *   minimize over D   ||ΔW − (B̄ + D) Ā||² + λ ||D||²      ΔW = Σ p_k B_k A_k
 *   D = (ΔW − B̄ Ā) Āᵀ (Ā Āᵀ + λ I)⁻¹
 *
 * The paper minimizes 1 − cos by SGD; the squared distance has this closed form, with r x r matrices only. B is
 * corrected and not A, which the paper finds better. λ → ∞ leaves FedAvg.
 *
 * Source: Bian et al. 2025, section 4, https://arxiv.org/abs/2411.14961
 */
export const loraFair = defineStrategy({
  name: "lora-fair",
  needs: {
    minUpdates: 1,
    readsSingleUpdates: true,
    space: "products",
    separable: "module",
    missingTensors: true,
    quantizedBase: true,
  },
  config: z.strictObject({
    weights: weightsOption.default("examples"),
    lambda: z.number().positive().default(0.01).describe("λ, how strongly the correction is held near 0"),
  }),
  presets: { paper: { lambda: 0.01 } },
  build: ({ weights: axis, lambda }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const averaged = combine(global, updates, { clients: weights, global: 0 }, "factors");
      const tensors = new Map(averaged.tensors);
      for (const pair of modulesOf(global.tensors.keys()).pairs) {
        const parts = updates.clients.flatMap((_, k) => {
          const sent = moduleFactors(updates, k, pair);
          return sent === undefined ? [] : [{ factors: sent.factors, weight: weights[k]! }];
        });
        if (parts.length < 2) continue;
        const total = sum(parts.map(({ weight }) => weight));
        const mean = factorsOf(averaged.tensors, pair);
        const residual = stackFactors(
          [...parts.map(({ factors }) => factors), mean],
          [...parts.map(({ weight }) => weight / total), -1],
        );
        const b = corrected(mean, residual, lambda);
        tensors.set(pair.b, like(averaged.tensors.get(pair.b)!, b.data));
      }
      return { state, global: { config: global.config, tensors }, report: {} };
    },
  }),
});

/** B̄ + R Āᵀ (Ā Āᵀ + λ I)⁻¹ for R = residual.b · residual.a */
function corrected(mean: Factors, residual: Factors, lambda: number): Matrix {
  const gram = multiplyTransposed(mean.a, mean.a);
  for (let i = 0; i < gram.rows; i++) gram.data[i * gram.cols + i]! += lambda;
  const right = multiply(residual.b, multiplyTransposed(residual.a, mean.a)); // R Āᵀ, out x r
  const step = solvePositive(gram, right);
  return { ...mean.b, data: mean.b.data.map((value, i) => value + step.data[i]!) };
}
