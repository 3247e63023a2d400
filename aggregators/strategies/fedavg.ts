import { z } from "zod";
import { defineStrategy, EMPTY_STATE, type Needs } from "../strategy.ts";
import { mapGlobal, meanLike } from "../weighted-mean.ts";
import { weightsOf, weightsOption } from "../weights.ts";

/** What every rule can that only averages tensor by tensor. */
export const meanNeeds: Needs = {
  minUpdates: 1,
  readsSingleUpdates: false,
  space: "factors",
  separable: "tensor",
  missingTensors: true,
  quantizedBase: true,
};

/**
 * Federated averaging: the new global adapter is the mean of the clients' adapters.
 *
 *   w_{t+1} = Σ_k (n_k / n) w_k        n_k: what client k counts by, n = Σ n_k
 *
 * LoRA's A and B are averaged apart, so the result's product B·A is not the mean of the clients' products;
 * flexlora.ts averages the products, and `fedit` reports how far the two are from each other.
 *
 * Source: McMahan et al. 2017, Algorithm 1, https://arxiv.org/abs/1602.05629
 */
export const fedAvg = defineStrategy({
  name: "fedavg",
  needs: meanNeeds,
  config: z.strictObject({ weights: weightsOption.default("examples") }),
  build: ({ weights: axis }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const next = mapGlobal(global, updates, (name, old) => meanLike(old, updates, name, weights));
      return { state, global: next, report: {} };
    },
  }),
});
