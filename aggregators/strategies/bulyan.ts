import { z } from "zod";
import { type CoordinateRule, coordinatewise, medianOf } from "../coordinates.ts";
import { squaredDistances } from "../distances.ts";
import { onlyClients } from "../selection.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import {
  byzantineOption,
  comparing,
  flags,
  guaranteeOption,
  krumScores,
  ranking,
  spaceOption,
} from "./krum.ts";

/**
 * Bulyan: Krum chooses θ = n − 2f clients; each coordinate is the mean of the β = θ − 2f chosen values nearest to
 * their median.      n ≥ 4f + 3
 *
 * The paper runs Krum again after each winner is taken out (`iterated`; f unchanged); Flower takes the best θ of
 * one ranking. Selection measures in the space that is asked for, the second step acts on factors.
 *
 * Source: El Mhamdi et al. 2018, section 4, https://arxiv.org/abs/1802.07927
 */
export const bulyan = defineStrategy({
  name: "bulyan",
  needs: ({ byzantine, guarantee, space }) =>
    comparing(space, guarantee ? 4 * byzantine + 3 : 4 * byzantine + 1),
  config: z.strictObject({
    byzantine: byzantineOption,
    selection: z
      .enum(["iterated", "single-ranking"])
      .default("iterated")
      .describe("the paper's way, or Flower's"),
    space: spaceOption,
    guarantee: guaranteeOption,
  }),
  presets: { paper: {}, flower: { selection: "single-ranking", guarantee: false } },
  build: ({ byzantine, selection, space }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const distances = squaredDistances(updates, global, space);
      const theta = updates.clients.length - 2 * byzantine;
      const chosen =
        selection === "iterated"
          ? iteratedKrum(distances, byzantine, theta)
          : ranking(krumScores(distances, byzantine)).slice(0, theta);
      const selected = onlyClients(updates, chosen);
      const beta = theta - 2 * byzantine;
      const nearMedian: CoordinateRule = {
        ranks: (n) => [0, n - 1],
        of: (ascending) => meanNearMedian(ascending, beta),
      };
      const next = mapGlobal(global, selected, (name) => coordinatewise(selected, name, nearMedian));
      return {
        state,
        global: next,
        report: { selected: theta, ...flags("selected", updates.clients, new Set(chosen)) },
      };
    },
  }),
});

function iteratedKrum(distances: readonly Float64Array[], byzantine: number, count: number): number[] {
  let left = distances.map((_, k) => k);
  const chosen: number[] = [];
  while (chosen.length < count) {
    const among = left.map((i) => Float64Array.from(left, (j) => distances[i]![j]!));
    const winner = left.length === 1 ? left[0]! : left[ranking(krumScores(among, byzantine))[0]!]!;
    chosen.push(winner);
    left = left.filter((k) => k !== winner);
  }
  return chosen;
}

/** Of ascending values, the `count` nearest to the median lie side by side: the window with the nearest ends. */
function meanNearMedian(ascending: Float64Array, count: number): number {
  const middle = medianOf(ascending);
  let from = 0;
  while (from + count < ascending.length && middle - ascending[from]! > ascending[from + count]! - middle) {
    from++;
  }
  let total = 0;
  for (let k = from; k < from + count; k++) total += ascending[k]!;
  return total / count;
}
