import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { type Tensor, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { addScaled, differenceOf } from "../differences.ts";
import { learningRateOf } from "../metrics.ts";
import { defineStrategy } from "../strategy.ts";
import { mapGlobal, stateTensor, stateValues } from "../weighted-mean.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * SCAFFOLD, option II: control variates take the drift out of local steps.
 *
 *   client   y ← y − η_l (g(y) − c_k + c)
 *   c_k⁺ = c_k − c + (w − w_k) / (K_k η_l)      w ← w + η_g mean_S (w_k − w)
 *   c ← c + (|S|/N) mean_S (c_k⁺ − c_k)         K_k: steps of client k; S: this round's clients of N
 *
 * The coordinator keeps the c_k: each follows from what the client sent, so the upload does not double and a
 * client that lost its disk loses nothing. Clients are handed c − c_k as the correction "gradient".
 * Unweighted, as in the paper. Principled for SGD only: under AdamW the correction passes through its moments.
 *
 * Source: Karimireddy et al. 2020, Algorithm 1, https://arxiv.org/abs/1910.06378
 */
export const scaffold = defineStrategy({
  name: "scaffold",
  needs: { ...meanNeeds, readsSingleUpdates: true },
  config: z.strictObject({
    learningRate: z.number().positive().default(1).describe("η_g, the server's step"),
    clientLearningRate: z
      .number()
      .positive()
      .optional()
      .describe("η_l; without it each client's mean learning rate, as it reports it"),
  }),
  presets: { paper: {} },
  build: ({ learningRate, clientLearningRate }) => ({
    init: () => ({ scalars: {}, tensors: { control: new Map() } }),
    plan(state, { client }) {
      const { control } = state.tensors;
      const own = state.tensors[variateOf(client)];
      if (control === undefined || control.size === 0) return {};
      const gradient = tensorSet(
        [...control].map(([name, c]) => {
          const difference = new Float64Array(floats(c));
          const mine = own?.get(name);
          if (mine !== undefined) addScaled(difference, floats(mine), -1);
          return [name, stateTensor(c.shape, difference)] as const;
        }),
      );
      return { corrections: { gradient } };
    },
    aggregate(state, { global, totalClients }, updates) {
      const control = new Map(state.tensors.control);
      const own = updates.clients.map(({ client }) => new Map(state.tensors[variateOf(client)]));
      const perStep = updates.clients.map(
        (info) => 1 / (info.steps * learningRateOf(info, clientLearningRate)),
      );
      const next = mapGlobal(global, updates, (name, old) => {
        const present = updates.clients.flatMap((_, k) => (updates.has(k, name) ? [k] : []));
        const values = new Float64Array(floats(old));
        const c = stateValues(control, name, old);
        const change = new Float64Array(c.length);
        for (const k of present) {
          const difference = differenceOf(updates, k, name, old)!;
          addScaled(values, difference, learningRate / present.length);
          const before = stateValues(own[k], name, old);
          // c_k⁺ − c_k = −c + (w − w_k) / (K η)
          const moved = new Float64Array(c.length);
          for (let i = 0; i < c.length; i++) moved[i] = -c[i]! - perStep[k]! * difference[i]!;
          addScaled(change, moved, 1 / totalClients);
          addScaled(before, moved, 1);
          own[k]!.set(name, stateTensor(old.shape, before));
        }
        addScaled(c, change, 1);
        control.set(name, stateTensor(old.shape, c));
        return values;
      });
      const variates: Record<string, TensorSet> = Object.fromEntries(
        updates.clients.map(({ client }, k) => [variateOf(client), sorted(own[k]!)]),
      );
      return {
        state: { scalars: {}, tensors: { ...state.tensors, ...variates, control: sorted(control) } },
        global: next,
        report: {},
      };
    },
  }),
});

/** The name of a client's set in the state. */
export function variateOf(client: string): string {
  return `client:${client}`;
}

function sorted(set: ReadonlyMap<string, Tensor>): TensorSet {
  return tensorSet(set);
}
