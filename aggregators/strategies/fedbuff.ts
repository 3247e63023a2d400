import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { addScaled, differenceOf } from "../differences.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import { sum, weightsOf, weightsOption } from "../weights.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * FedBuff: asynchronous rounds. The coordinator collects K updates, whatever global adapter each started from,
 * and adds what each changed, damped by how stale it is.
 *
 *   w ← w + (η/K) Σ s(τ_k) d_k      d_k = w_k − (what client k started from)      s(τ) = (1 + τ)^−a
 *
 * Divided by the count K, not by the sum of the s(τ): a buffer of stale updates takes a small step. With weights
 * other than uniform, 1/K becomes the client's share. A run with `cohort: { mode: async, concurrency, buffer }` is
 * asynchronous: K is its buffer, which updates lie in one follows from their order of arrival, and the journal has that
 * order, so that a round replays. In other runs every τ is 0. `fedloom aggregate` is told how stale an update is, and
 * counts its change from `--global`.
 *
 * Source: Nguyen et al. 2022, Algorithm 1, https://arxiv.org/abs/2106.06581
 */
export const fedBuff = defineStrategy({
  name: "fedbuff",
  needs: { ...meanNeeds, readsSingleUpdates: true, asynchronous: true },
  config: z.strictObject({
    weights: weightsOption.default("uniform"),
    learningRate: z.number().positive().default(1).describe("η, the server's step"),
    stalenessExponent: z.number().min(0).default(0.5).describe("a; 0 ignores staleness"),
    maxStaleness: z.int().min(0).optional().describe("updates staler than this count nothing"),
  }),
  presets: { paper: { stalenessExponent: 0.5 } },
  build: ({ weights: axis, learningRate, stalenessExponent, maxStaleness }) => ({
    init: () => EMPTY_STATE,
    aggregate(state, { global }, updates) {
      const staleness = updates.clients.map((info) => info.staleness ?? 0);
      const isFresh = staleness.map((rounds) => maxStaleness === undefined || rounds <= maxStaleness);
      const weights = weightsOf(axis, updates.clients).map((weight, k) => (isFresh[k]! ? weight : 0));
      const damping = staleness.map((rounds) => (1 + rounds) ** -stalenessExponent);
      const next = mapGlobal(global, updates, (name, old) => {
        const present = updates.clients.flatMap((_, k) =>
          weights[k]! > 0 && updates.has(k, name) ? [k] : [],
        );
        if (present.length === 0) return undefined;
        const total = sum(present.map((k) => weights[k]!));
        const values = new Float64Array(floats(old));
        for (const k of present) {
          const share = (learningRate * damping[k]! * weights[k]!) / total;
          addScaled(values, differenceOf(updates, k, name, old)!, share);
        }
        return values;
      });
      return {
        state,
        global: next,
        report: {
          tooStale: isFresh.filter((fresh) => !fresh).length,
          meanStaleness: sum(staleness) / staleness.length,
        },
      };
    },
  }),
});
