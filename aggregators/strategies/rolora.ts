import { defineStrategy } from "../strategy.ts";
import { meanNeeds } from "./fedavg.ts";
import { averagingOnly, except, factorPattern, oneFactorOptions } from "./one-factor.ts";

/**
 * RoLoRA: B is trained in odd rounds, A in even ones, the other factor being frozen and common to all: each
 * round's average is exact, and both factors learn. B comes first, because A has no gradient while B is 0.
 *
 *   odd   Σ p_k B_k A = B̄ A      even   Σ p_k B A_k = B Ā
 *
 * Source: Chen et al. 2024, https://arxiv.org/abs/2409.02346
 */
export const roLora = defineStrategy({
  name: "rolora",
  needs: meanNeeds,
  config: oneFactorOptions,
  presets: { paper: {} },
  build: (config) => ({
    ...averagingOnly(config, (round) => except(factorPattern(frozenIn(round)))),
    plan: (_state, { round }) => ({
      frozen: factorPattern(frozenIn(round)),
      travels: except(factorPattern(frozenIn(round))),
    }),
  }),
});

/** Rounds count from 1. */
function frozenIn(round: number): "A" | "B" {
  return round % 2 === 1 ? "A" : "B";
}
