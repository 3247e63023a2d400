import { z } from "zod";
import { coordinatewise } from "../coordinates.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
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
      const trimmed = (ascending: Float64Array) => {
        const cut = Math.floor(beta * ascending.length);
        let total = 0;
        for (let k = cut; k < ascending.length - cut; k++) total += ascending[k]!;
        return total / (ascending.length - 2 * cut);
      };
      const next = mapGlobal(global, updates, (name) => coordinatewise(updates, name, trimmed));
      return { state, global: next, report: {} };
    },
  }),
});
