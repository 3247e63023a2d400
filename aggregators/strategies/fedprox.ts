import { z } from "zod";
import { defineStrategy } from "../strategy.ts";
import { fedAvg, meanNeeds } from "./fedavg.ts";

export const layersOption = z
  .tuple([z.int().min(0), z.int().min(0)])
  .refine(([first, last]) => first <= last, "the first layer must not lie behind the last")
  .describe("first and last layer that the term acts on; all tensors, where absent");

/**
 * FedProx: FedAvg whose clients are held near the adapter they were handed out.
 *
 *   client   minimize F_k(w) + μ/2 ||w − w_t||²      server   as FedAvg
 *
 * Source: Li et al. 2020, Algorithm 2, https://arxiv.org/abs/1812.06127
 */
export const fedProx = defineStrategy({
  name: "fedprox",
  needs: meanNeeds,
  config: fedAvg.config.extend({
    mu: z.number().min(0).default(0.01).describe("μ, strength of the term"),
    layers: layersOption.optional(),
  }),
  presets: { paper: { mu: 0.01 }, fedmllm: { mu: 0.01 } },
  build: ({ mu, layers, ...average }) => ({
    ...fedAvg.build(average),
    plan: () => ({ proximal: { mu, weight: 1, ...(layers !== undefined && { layers }) } }),
  }),
});
