import { z } from "zod";
import { combine } from "../combination.ts";
import { type Space, squaredDistances } from "../distances.ts";
import { defineStrategy, EMPTY_STATE, type Needs } from "../strategy.ts";
import { sum, weightsOf, weightsOption } from "../weights.ts";

export const spaceOption = z
  .enum(["factors", "products"])
  .default("factors")
  .describe("where distances are measured: A and B apart, or the products s·B·A by Gram traces");

export const byzantineOption = z.int().min(0).default(1).describe("f, clients that may send anything");

export const guaranteeOption = z
  .boolean()
  .default(true)
  .describe("refuse a round with too few updates for the proof; false runs it anyway, as some programs do");

/** What rules have in common that compare whole updates with one another. */
export function comparing(space: Space, minUpdates: number): Needs {
  return {
    minUpdates,
    readsSingleUpdates: true,
    space,
    separable: "adapter",
    heterogeneousRanks: space === "products",
    quantizedBase: true,
  };
}

/**
 * Krum: the new global adapter is the one client's whose neighbors are nearest; Multi-Krum, the mean of the m best.
 *
 *   score(k) = Σ over the n − f − 2 nearest others of ||w_k − w_j||²      n ≥ 2f + 3
 *
 * Distances are exact in float64 over all tensors together; ties go to the client first in order. With m > 1 the
 * chosen are averaged by `weights`: the paper averages plainly, Flower by examples.
 *
 * Source: Blanchard et al. 2017, section 4 and appendix, https://papers.nips.cc/paper/6617
 */
export const krum = defineStrategy({
  name: "krum",
  needs: ({ byzantine, guarantee, space, select }) =>
    comparing(space, Math.max(select, guarantee ? 2 * byzantine + 3 : 1)),
  config: z.strictObject({
    byzantine: byzantineOption,
    select: z.int().positive().default(1).describe("m, clients averaged: 1 is Krum, more Multi-Krum"),
    weights: weightsOption.default("uniform"),
    space: spaceOption,
    guarantee: guaranteeOption,
  }),
  presets: { paper: {}, flower: { weights: "examples", guarantee: false } },
  build: ({ byzantine, select, weights: axis, space }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const scores = krumScores(squaredDistances(updates, global, space), byzantine);
      const chosen = new Set(ranking(scores).slice(0, select));
      const weights = weightsOf(axis, updates.clients).map((weight, k) => (chosen.has(k) ? weight : 0));
      const total = sum(weights);
      const coefficients = { clients: weights.map((weight) => weight / total), global: 0 };
      return {
        state,
        global: combine(global, updates, coefficients, space),
        report: { selected: chosen.size, ...flags("selected", updates.clients, chosen) },
      };
    },
  }),
});

/** Σ of the squared distances to the max(1, n − f − 2) nearest others. */
export function krumScores(distances: readonly Float64Array[], byzantine: number): number[] {
  const neighbors = Math.max(1, distances.length - byzantine - 2);
  return distances.map((row, i) => {
    const others = row.filter((_, j) => j !== i).sort();
    return sum(others.subarray(0, neighbors));
  });
}

/** Indices by ascending score, ties by index. */
export function ranking(scores: readonly number[]): number[] {
  return scores.map((_, k) => k).sort((i, j) => scores[i]! - scores[j]! || i - j);
}

/** `selected.c7: 1` for each client that a rule chose, so that metrics.jsonl tells whom it trusts. */
export function flags(
  what: string,
  clients: readonly { readonly client: string }[],
  chosen: ReadonlySet<number>,
): Record<string, number> {
  return Object.fromEntries(
    clients.flatMap(({ client }, k) => (chosen.has(k) ? [[`${what}.${client}`, 1]] : [])),
  );
}
