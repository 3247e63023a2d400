import { z } from "zod";
import { type CoordinateRule, coordinatewise } from "../coordinates.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import { sum } from "../weights.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * Coordinate-wise trimmed mean: of each coordinate the ⌊βn⌋ smallest and as many largest values are dropped, the
 * rest averaged. Unweighted. β < 1/2; ⌊βn⌋ = 0 trims nothing, which is the plain mean.
 *
 * Source: Yin et al. 2018, Option II, https://arxiv.org/abs/1803.01498
 */
export const trimmedMean = defineStrategy({
  name: "trimmed-mean",
  needs: { ...meanNeeds, readsSingleUpdates: true },
  config: z.strictObject({
    beta: z.number().min(0).lt(0.5).default(0.2).describe("β, the share dropped at each end, below one half"),
  }),
  presets: { paper: {}, flower: { beta: 0.2 } },
  build: ({ beta }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const trimmed: CoordinateRule = {
        ranks: (n) => [Math.floor(beta * n), n - 1 - Math.floor(beta * n)],
        of: (kept) => sum(kept) / kept.length,
      };
      const next = mapGlobal(global, updates, (name) => coordinatewise(updates, name, trimmed));
      return { state, global: next, report: {} };
    },
  }),
});
