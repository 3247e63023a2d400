import { z } from "zod";
import { combine } from "../combination.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { weightsOf, weightsOption } from "../weights.ts";

/**
 * FlexLoRA: the products are averaged, and the global adapter is their best approximation of its rank; a client
 * of rank r_k is handed the first r_k components, which are the best of that rank.
 *
 *   ΔW = Σ p_k s_k B_k A_k = U S Vᵀ      B = U_r S_r / s      A = V_rᵀ      s_k = α_k / r_k
 *
 * ΔW is never built: QR of the stacked factors, SVD of the small core. Signs are fixed, so that components do not
 * flip from round to round. What the rank cannot hold is lost; the round's productError tells how much.
 *
 * Source: Bai et al. 2024, section 3.2, https://arxiv.org/abs/2402.11505
 */
export const flexLora = defineStrategy({
  name: "flexlora",
  needs: {
    minUpdates: 1,
    readsSingleUpdates: true,
    space: "products",
    separable: "module",
    heterogeneousRanks: true,
    missingTensors: true,
    quantizedBase: true,
  },
  config: z.strictObject({ weights: weightsOption.default("examples") }),
  presets: { paper: {} },
  build: ({ weights: axis }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const next = combine(global, updates, { clients: weights, global: 0, ordered: true }, "products");
      return { state, global: next, report: {} };
    },
  }),
});
