import { defineStrategy } from "../strategy.ts";
import { meanNeeds } from "./fedavg.ts";
import { averagingOnly, factorPattern, oneFactorOptions } from "./one-factor.ts";

/**
 * FedSA-LoRA: both factors are trained, only A travels and is averaged; each client keeps a B of its own, which is
 * its personal part. A client that joins begins with B = 0. To be evaluated at the clients.
 *
 *   Ā = Σ p_k A_k      client k uses B_k Ā
 *
 * Source: Guo et al. 2025, https://arxiv.org/abs/2410.01463
 */
export const fedSaLora = defineStrategy({
  name: "fedsa-lora",
  needs: meanNeeds,
  config: oneFactorOptions,
  presets: { paper: {} },
  build: (config) => ({
    ...averagingOnly(config, () => factorPattern("A")),
    plan: () => ({ travels: factorPattern("A") }),
  }),
});
