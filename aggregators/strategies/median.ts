import { z } from "zod";
import { coordinatewise, MEDIAN } from "../coordinates.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * Coordinate-wise median: each value is the middle one of the clients' values; of an even number of clients,
 * the mean of the middle two. Unweighted. Holds up to (n − 1)/2 arbitrary clients.
 *
 * It acts on the factors, where it means something only because all clients start a round from the same
 * factors; a median of products would need them dense.
 *
 * Source: Yin et al. 2018, Option I, https://arxiv.org/abs/1803.01498
 */
export const median = defineStrategy({
  name: "median",
  needs: { ...meanNeeds, readsSingleUpdates: true },
  config: z.strictObject({}),
  presets: { paper: {}, flower: {} },
  build: () => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const next = mapGlobal(global, updates, (name) => coordinatewise(updates, name, MEDIAN));
      return { state, global: next, report: {} };
    },
  }),
});
