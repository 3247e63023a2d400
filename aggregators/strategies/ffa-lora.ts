import { defineStrategy } from "../strategy.ts";
import { meanNeeds } from "./fedavg.ts";
import { averagingOnly, except, factorPattern, oneFactorOptions } from "./one-factor.ts";

/**
 * FFA-LoRA: A stays as it was drawn, only B is trained and travels. Since all share A, the mean of the products is
 * the product of the mean: exact, with half the traffic, and noise on B enters linearly.
 *
 *   Σ p_k B_k A = (Σ p_k B_k) A
 *
 * Source: Sun et al. 2024, https://arxiv.org/abs/2403.12313
 */
export const ffaLora = defineStrategy({
  name: "ffa-lora",
  needs: meanNeeds,
  config: oneFactorOptions,
  presets: { paper: {} },
  build: (config) => ({
    ...averagingOnly(config, () => except(factorPattern("A"))),
    plan: () => ({ frozen: factorPattern("A"), travels: except(factorPattern("A")) }),
  }),
});
