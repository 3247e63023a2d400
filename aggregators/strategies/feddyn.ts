import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { addScaled, differenceOf } from "../differences.ts";
import { defineStrategy } from "../strategy.ts";
import { mapGlobal, stateTensor, stateValues } from "../weighted-mean.ts";
import { meanNeeds } from "./fedavg.ts";
import { variateOf } from "./scaffold.ts";

/**
 * FedDyn: every client's loss gets a linear and a quadratic term, chosen so that the local optima agree with the
 * global one.
 *
 *   client   minimize F_k(θ) − ⟨g_k, θ⟩ + α/2 ||θ − w||²
 *   g_k ← g_k − α (w_k − w)      h ← h − (α/m) Σ_S (w_k − w)      w ← mean_S w_k − h/α      m: all clients
 *
 * The coordinator keeps the g_k (they follow from the updates) and hands out −g_k as the correction "gradient"
 * and α as a proximal term. Unstable when few of many clients take part in a round.
 *
 * Source: Acar et al. 2021, Algorithm 1, https://arxiv.org/abs/2111.04263
 */
export const fedDyn = defineStrategy({
  name: "feddyn",
  needs: { ...meanNeeds, readsSingleUpdates: true },
  config: z.strictObject({
    alpha: z
      .number()
      .positive()
      .default(0.1)
      .describe("α, strength of the terms; published runs take 0.01 to 0.1"),
  }),
  presets: { paper: { alpha: 0.1 } },
  build: ({ alpha }) => ({
    init: () => ({ scalars: {}, tensors: { h: new Map() } }),
    plan(state, { client }) {
      const proximal = { mu: alpha, weight: 1 };
      const own = state.tensors[variateOf(client)];
      if (own === undefined) return { proximal };
      const gradient = tensorSet(
        [...own].map(
          ([name, g]) =>
            [
              name,
              stateTensor(
                g.shape,
                Float64Array.from(floats(g), (x) => -x),
              ),
            ] as const,
        ),
      );
      return { proximal, corrections: { gradient } };
    },
    aggregate(state, { global, totalClients }, updates) {
      const h = new Map(state.tensors.h);
      const own = updates.clients.map(({ client }) => new Map(state.tensors[variateOf(client)]));
      const next = mapGlobal(global, updates, (name, old) => {
        const present = updates.clients.flatMap((_, k) => (updates.has(k, name) ? [k] : []));
        const values = new Float64Array(floats(old));
        const drift = stateValues(h, name, old);
        for (const k of present) {
          const difference = differenceOf(updates, k, name, old)!;
          addScaled(values, difference, 1 / present.length);
          addScaled(drift, difference, -alpha / totalClients);
          const g = stateValues(own[k], name, old);
          addScaled(g, difference, -alpha);
          own[k]!.set(name, stateTensor(old.shape, g));
        }
        addScaled(values, drift, -1 / alpha);
        h.set(name, stateTensor(old.shape, drift));
        return values;
      });
      const variates: Record<string, TensorSet> = Object.fromEntries(
        updates.clients.map(({ client }, k) => [variateOf(client), tensorSet(own[k]!)]),
      );
      return {
        state: { scalars: {}, tensors: { ...state.tensors, ...variates, h: tensorSet(h) } },
        global: next,
        report: {},
      };
    },
  }),
});
