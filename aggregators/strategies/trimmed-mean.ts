import { z } from "zod";
import { type CoordinateRule, coordinatewise } from "../coordinates.ts";
import { TILE } from "../kernels.ts";
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
        tile(sorted, n, columns, to) {
          const cut = Math.floor(beta * n);
          to.fill(0);
          for (let k = cut; k < n - cut; k++) {
            for (let i = 0; i < columns; i++) to[i] = to[i]! + sorted[k * TILE + i]!;
          }
          for (let i = 0; i < columns; i++) to[i] = to[i]! / (n - 2 * cut);
        },
      };
      const next = mapGlobal(global, updates, (name) => coordinatewise(updates, name, trimmed));
      return { state, global: next, report: {} };
    },
  }),
});
