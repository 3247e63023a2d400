import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { addScaled, differenceOf } from "../differences.ts";
import { learningRateOf } from "../metrics.ts";
import { defineStrategy, EMPTY_STATE, type UpdateInfo } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import { weightsOf, weightsOption } from "../weights.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * FedNova: each client's change is divided by how many steps' worth of gradient it holds, so that clients with
 * more steps do not pull the average towards their own optimum.
 *
 *   w ← w + τ_eff Σ p_k (w_k − w) / ||a_k||₁
 *   SGD         ||a||₁ = τ_k                         momentum ρ   a += c, c ← ρ c + 1
 *   proximal μ  a ← a (1 − η μ) + 1                  τ_eff = Σ p_k ||a_k||₁, with μ > 0: Σ p_k τ_k
 *
 * Under AdamW a step counts as one SGD step; the paper has no rule for it.
 *
 * Source: Wang et al. 2020, https://arxiv.org/abs/2007.07481, section 4 and the authors' code (τ_eff for μ > 0)
 */
export const fedNova = defineStrategy({
  name: "fednova",
  needs: { ...meanNeeds, readsSingleUpdates: true },
  config: z.strictObject({
    weights: weightsOption.default("examples"),
    momentum: z.number().min(0).lt(1).default(0).describe("ρ of the clients' SGD"),
    mu: z.number().min(0).default(0).describe("μ of a proximal term, which clients are then told to add"),
    clientLearningRate: z
      .number()
      .positive()
      .optional()
      .describe("η, wanted for μ > 0; without it each client's mean learning rate, as it reports it"),
  }),
  presets: { paper: {} },
  build: ({ weights: axis, momentum, mu, clientLearningRate }) => ({
    init: () => EMPTY_STATE,
    plan: () => (mu > 0 ? { proximal: { mu, weight: 1 } } : {}),
    aggregate(state, { global }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const norms = updates.clients.map((info) => {
        const decay = mu > 0 ? mu * learningRateOf(info, clientLearningRate) : 0;
        return normalizer(info, momentum, decay);
      });
      const next = mapGlobal(global, updates, (name, old) => {
        const present = updates.clients.flatMap((_, k) => (updates.has(k, name) ? [k] : []));
        const total = present.reduce((sum, k) => sum + weights[k]!, 0);
        const effective = present.reduce(
          (sum, k) => sum + (weights[k]! / total) * (mu > 0 ? updates.clients[k]!.steps : norms[k]!),
          0,
        );
        const values = new Float64Array(floats(old));
        for (const k of present) {
          const share = (effective * weights[k]!) / (total * norms[k]!);
          addScaled(values, differenceOf(updates, k, name, old)!, share);
        }
        return values;
      });
      return { state, global: next, report: {} };
    },
  }),
});

/** ||a||₁ after the client's steps, by the recurrences of the authors' optimizer. */
function normalizer({ steps }: UpdateInfo, momentum: number, decay: number): number {
  let total = 0;
  let counter = 0;
  for (let step = 0; step < steps; step++) {
    counter = momentum * counter + 1;
    if (momentum > 0) total += counter;
    if (decay > 0) total = total * (1 - decay) + 1;
    if (momentum === 0 && decay === 0) total += 1;
  }
  return total;
}
