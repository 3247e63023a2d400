import { productErrors, relativeError } from "../product-error.ts";
import { defineStrategy } from "../strategy.ts";
import { weightsOf } from "../weights.ts";
import { fedAvg, meanNeeds } from "./fedavg.ts";

/**
 * FedIT: A and B averaged apart, as FedAvg does, with the error this makes reported every round.
 *
 *   Ā = Σ p_k A_k      B̄ = Σ p_k B_k      productError = ||Σ p_k B_k A_k − B̄ Ā||_F / ||Σ p_k B_k A_k||_F
 *
 * The bias is Σ p_k (B_k − B̄)(A_k − Ā): small while clients stay near each other. The exact rules (flexlora.ts,
 * fedex-lora.ts, flora.ts) are worth their price when this number is not.
 *
 * Source: Zhang et al. 2023, https://arxiv.org/abs/2305.05644; the error: Sun et al. 2024, section 3,
 * https://arxiv.org/abs/2403.12313
 */
export const fedIt = defineStrategy({
  name: "fedit",
  needs: { ...meanNeeds, readsSingleUpdates: true, separable: "adapter" },
  config: fedAvg.config,
  presets: { paper: {} },
  build: (config) => {
    const average = fedAvg.build(config);
    return {
      ...average,
      aggregate(state, context, updates) {
        const result = average.aggregate(state, context, updates);
        const errors = productErrors(result.global, updates, weightsOf(config.weights, updates.clients));
        return { ...result, report: { ...result.report, productError: relativeError(errors.values()) } };
      },
    };
  },
});
