import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { addScaled, differenceOf } from "../differences.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * TIES merging: small changes are dropped, each coordinate elects a sign, and only changes of that sign are averaged.
 *
 *   trim    keep the ⌈density · d⌉ largest |d_k|, ties included      (of each client and tensor)
 *   elect   γ = sign(Σ_k d_k); where the sum is 0, the sign that most coordinates of the tensor elect
 *   merge   w ← w + λ · mean of the d_k with sign γ, zeros not counted
 *
 * The paper trims each task vector as a whole; per tensor here, so that tensors can be read one by one.
 *
 * Source: Yadav et al. 2023, Algorithm 1, https://arxiv.org/abs/2306.01708
 */
export const ties = defineStrategy({
  name: "ties",
  needs: { ...meanNeeds, readsSingleUpdates: true },
  config: z.strictObject({
    density: z.number().positive().max(1).default(0.2).describe("share of a client's changes that is kept"),
    lambda: z.number().positive().default(1).describe("λ, scale of the merged change"),
  }),
  presets: { paper: { density: 0.2, lambda: 1 } },
  build: ({ density, lambda }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const next = mapGlobal(global, updates, (name, old) => {
        const changes = updates.clients.flatMap((_, k) => {
          const difference = differenceOf(updates, k, name, old);
          return difference === undefined ? [] : [trimmed(difference, density)];
        });
        const values = new Float64Array(floats(old));
        addScaled(values, tiesMerge(changes), lambda);
        return values;
      });
      return { state, global: next, report: {} };
    },
  }),
});

/** Zero below the value that the wanted share reaches; at density 1 nothing is dropped. */
function trimmed(change: Float64Array, density: number): Float64Array {
  const kept = Math.ceil(density * change.length);
  if (kept >= change.length) return change;
  const threshold = Float64Array.from(change, Math.abs).sort()[change.length - kept]!;
  return change.map((value) => (Math.abs(value) >= threshold ? value : 0));
}

/** Elects signs and averages the changes that agree; zeros have no vote in the average. */
export function tiesMerge(changes: readonly Float64Array[]): Float64Array {
  const total = new Float64Array(changes[0]!.length);
  for (const change of changes) addScaled(total, change, 1);
  const majority = Math.sign(total.reduce((sum, value) => sum + Math.sign(value), 0));
  return total.map((sum, i) => {
    const sign = Math.sign(sum) || majority;
    let agreed = 0;
    let count = 0;
    for (const change of changes) {
      if (change[i] === 0 || Math.sign(change[i]!) !== sign) continue;
      agreed += change[i]!;
      count++;
    }
    return count === 0 ? 0 : agreed / count;
  });
}
