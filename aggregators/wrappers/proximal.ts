import { z } from "zod";
import { layersOption } from "../strategies/fedprox.ts";
import { defineWrapper } from "../strategy.ts";

/**
 * A proximal term at the clients of any strategy. With a layer range it is FedMLLM's adaptive regularization as
 * published: two settings by hand for each scenario, nothing measured (adaptive-proximal.ts measures).
 *
 *   client   minimize F_k(w) + weight · μ/2 · Σ_{layers} ||w − w_t||²
 *
 * Preset fedmllm acts on layers 4 to 23 of 28; tensors without a layer number are left out there.
 *
 * Source: FedMLLM, https://arxiv.org/abs/2411.14717, and its code
 */
export const proximal = defineWrapper({
  name: "proximal",
  config: z.strictObject({
    mu: z.number().min(0).default(0.01).describe("μ"),
    weight: z
      .number()
      .min(0)
      .default(1)
      .describe("factor on μ; published: 1 without, 0.1 with missing modalities"),
    layers: layersOption.optional(),
  }),
  presets: {
    fedprox: { mu: 0.01 },
    fedmllm: { mu: 0.01, weight: 0.1, layers: [4, 23] },
  },
  wrap:
    ({ mu, weight, layers }) =>
    (inner) => ({
      ...inner,
      plan: (state, context) => ({
        ...inner.plan?.(state, context),
        proximal: { mu, weight, ...(layers !== undefined && { layers }) },
      }),
    }),
});
