import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { squaredNorm } from "../differences.ts";
import { defineStrategy, EMPTY_STATE, type Updates } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import { weightsOf, weightsOption } from "../weights.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * Fisher merging: each coordinate is averaged by how sure each client is of it, its diagonal Fisher information.
 *
 *   w[j] = Σ λ_k F_k[j] w_k[j] / Σ λ_k F_k[j]      F_k[j] = mean over examples of (∂ log p / ∂w_j)², at least ε
 *
 * ε is a floor, not an added term: where no client has any information the result is the λ-weighted mean. A client
 * without a modality has F = 0 on its tensors; the ownership wrapper takes it out altogether. Upload doubles, or grows
 * by a quarter with `wire: log8`: information off by a factor of 1 + δ moves a coordinate by no more than δ times the
 * distance between the clients' values.
 * This is what FedNano merges with; its clients' other parts are not specified well enough to follow.
 *
 * Source: Matena and Raffel 2022, equation 3, https://arxiv.org/abs/2111.09832; FedNano, https://arxiv.org/abs/2506.14824
 */
export const fisher = defineStrategy({
  name: "fisher",
  needs: ({ normalize }) => ({
    ...meanNeeds,
    readsSingleUpdates: true,
    separable: normalize ? "adapter" : "tensor",
  }),
  config: z.strictObject({
    weights: weightsOption
      .default("examples")
      .describe("λ_k: what a client counts by beside its Fisher information"),
    floor: z.number().positive().default(1e-6).describe("ε, the least Fisher information"),
    normalize: z
      .boolean()
      .default(false)
      .describe(
        "scale each client's Fisher information to unit length first: against clients with larger gradients",
      ),
    estimate: z
      .enum(["fisher", "fisher-running"])
      .default("fisher")
      .describe(
        "squared gradients at the end of training, or the mean of those of its steps, which cost nothing",
      ),
    wire: z
      .enum(["fp32", "log8"])
      .default("fp32")
      .describe("how the information travels: whole, or 8 bits of its logarithm (docs/codecs.md)"),
  }),
  presets: { paper: { weights: "uniform" }, fednano: { weights: "examples" } },
  build: ({ weights: axis, floor, normalize, estimate, wire }) => ({
    init: () => EMPTY_STATE,
    plan: () => ({ extras: [estimate], ...(wire !== "fp32" && { extrasCodecs: [wire] }) }),
    aggregate(state, { global }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const scales = updates.clients.map((_, k) => (normalize ? 1 / lengthOf(updates, k, estimate) : 1));
      const next = mapGlobal(global, updates, (name, old) => {
        const top = new Float64Array(floats(old).length);
        const bottom = new Float64Array(top.length);
        for (const k of updates.clients.keys()) {
          const sent = updates.tensor(k, name);
          const information = updates.extra(k, estimate, name);
          if (sent === undefined || information === undefined) continue;
          const values = floats(sent);
          const certainty = floats(information);
          for (let i = 0; i < top.length; i++) {
            const share = weights[k]! * Math.max(floor, scales[k]! * certainty[i]!);
            top[i] = top[i]! + share * values[i]!;
            bottom[i] = bottom[i]! + share;
          }
        }
        return top.map((value, i) => value / bottom[i]!);
      });
      return { state, global: next, report: {} };
    },
  }),
});

function lengthOf(updates: Updates, client: number, kind: string): number {
  let squared = 0;
  for (const name of updates.names) {
    const set = updates.extra(client, kind, name);
    if (set !== undefined) squared += squaredNorm(floats(set));
  }
  return squared === 0 ? 1 : Math.sqrt(squared);
}
