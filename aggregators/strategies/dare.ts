import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import type { Rng } from "../../base/rng.ts";
import { addScaled, differenceOf } from "../differences.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import { meanNeeds } from "./fedavg.ts";
import { tiesMerge } from "./ties.ts";

/**
 * DARE: each change is dropped with probability p, and those that stay are scaled up, so that the expected change
 * is the same; what is left of the clients collides less when it is merged.
 *
 *   m ~ Bernoulli(1 − p)      d_k ← m d_k / (1 − p)      w ← w + λ merge(d_1 … d_m)
 *
 * Each client and tensor draws from a generator of its own, so that a replay drops the same.
 *
 * Source: Yu et al. 2024, section 3.1, https://arxiv.org/abs/2311.03099
 */
export const dare = defineStrategy({
  name: "dare",
  needs: { ...meanNeeds, readsSingleUpdates: true },
  config: z.strictObject({
    drop: z.number().min(0).lt(1).default(0.9).describe("p, the probability that a change is dropped"),
    merge: z
      .enum(["mean", "ties"])
      .default("mean")
      .describe("what is done with the rest: averaged, or TIES' signs first"),
    lambda: z.number().positive().default(1).describe("λ, scale of the merged change"),
  }),
  presets: { paper: { drop: 0.9 } },
  build: ({ drop, merge, lambda }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global, round, rng }, updates) {
      const next = mapGlobal(global, updates, (name, old) => {
        const changes = updates.clients.flatMap(({ client }, k) => {
          const difference = differenceOf(updates, k, name, old);
          return difference === undefined
            ? []
            : [sparse(difference, drop, rng.fork("dare", round, client, name))];
        });
        const values = new Float64Array(floats(old));
        if (merge === "ties") addScaled(values, tiesMerge(changes), lambda);
        else for (const change of changes) addScaled(values, change, lambda / changes.length);
        return values;
      });
      return { state, global: next, report: {} };
    },
  }),
});

function sparse(change: Float64Array, drop: number, rng: Rng): Float64Array {
  if (drop === 0) return change;
  return change.map((value) => (rng.uniform() < drop ? 0 : value / (1 - drop)));
}
