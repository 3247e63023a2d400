import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { addScaled, differenceOf } from "../differences.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * Task arithmetic: the clients' changes are added up, not averaged, and scaled by one factor.
 *
 *   w ← w + λ Σ_k (w_k − w)
 *
 * A merge of finished adapters rather than a rule for many rounds; on factors it means something only from a
 * common start.
 *
 * Source: Ilharco et al. 2023, section 2, https://arxiv.org/abs/2212.04089
 */
export const taskArithmetic = defineStrategy({
  name: "task-arithmetic",
  needs: { ...meanNeeds, readsSingleUpdates: true },
  config: z.strictObject({ lambda: z.number().positive().default(0.4).describe("λ, scale of the sum") }),
  presets: { paper: { lambda: 0.4 } },
  build: ({ lambda }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const next = mapGlobal(global, updates, (name, old) => {
        const values = new Float64Array(floats(old));
        for (const k of updates.clients.keys()) {
          const difference = differenceOf(updates, k, name, old);
          if (difference !== undefined) addScaled(values, difference, lambda);
        }
        return values;
      });
      return { state, global: next, report: {} };
    },
  }),
});
