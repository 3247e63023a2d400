import { z } from "zod";
import { combine } from "../combination.ts";
import { differenceNorms } from "../differences.ts";
import { productNorms } from "../product-norms.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { sum, weightsOf, weightsOption } from "../weights.ts";
import { comparing, spaceOption } from "./krum.ts";

/**
 * Norm-clipped mean: a client can move the global adapter by no more than C times its weight.
 *
 *   w ← w + Σ p_k d_k min(1, C/||d_k||)      d_k = w_k − w, over all tensors together; 0 stays 0
 *
 * In product space d_k = s (B_k A_k − B A), measured by Gram traces.
 *
 * Source: Sun et al. 2019, section 3.1, https://arxiv.org/abs/1911.07963
 */
export const normClipping = defineStrategy({
  name: "norm-clipping",
  needs: ({ space }) => comparing(space, 1),
  config: z.strictObject({
    norm: z.number().positive().default(1).describe("C, the longest change"),
    weights: weightsOption.default("examples"),
    space: spaceOption,
  }),
  presets: { paper: {} },
  build: ({ norm, weights: axis, space }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const norms =
        space === "factors" ? differenceNorms(updates, global.tensors) : productNorms(updates, global);
      const weights = weightsOf(axis, updates.clients);
      const total = sum(weights);
      const clients = weights.map((weight, k) => (weight / total) * clipFactor(norms[k]!, norm));
      return {
        state,
        global: combine(global, updates, { clients, global: 1 - sum(clients) }, space),
        report: { clipped: norms.filter((length) => length > norm).length },
      };
    },
  }),
});

/** min(1, C/length); a zero update is unclipped, not divided by. */
export function clipFactor(length: number, norm: number): number {
  return length > norm ? norm / length : 1;
}
