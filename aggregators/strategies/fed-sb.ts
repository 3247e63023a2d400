import { defineStrategy } from "../strategy.ts";
import { meanNeeds } from "./fedavg.ts";
import { averagingOnly, oneFactorOptions } from "./one-factor.ts";

/** Names of the r x r matrix between the factors. */
export const CORE_PATTERN = "\\.lora_R(\\.weight)?$";

/**
 * Fed-SB: A and B are fixed and common, a small R between them is all that is trained and travels.
 *
 *   W = W0 + s B R A      R̄ = Σ p_k R_k      Σ p_k B R_k A = B R̄ A: exact, r² numbers a module
 *
 * `adapter: { core: true }` gives each module its R. A and B come from the SVD of a first gradient estimate in the
 * paper, and may be any common pair; here both are drawn.
 *
 * Source: Singhal et al. 2025, https://arxiv.org/abs/2502.15436
 */
export const fedSb = defineStrategy({
  name: "fed-sb",
  needs: { ...meanNeeds, core: true },
  config: oneFactorOptions,
  presets: { paper: {} },
  build: (config) => ({
    ...averagingOnly(config, () => CORE_PATTERN),
    plan: () => ({ frozen: "\\.lora_[AB](\\.weight)?$", travels: CORE_PATTERN }),
  }),
});
