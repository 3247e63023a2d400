import { z } from "zod";
import { defineStrategy } from "../strategy.ts";
import { meanNeeds } from "./fedavg.ts";
import { fedOpt, fedOptOptions } from "./fedopt.ts";

/**
 * FedAdagrad: the squares of all steps so far slow each coordinate down, for good.
 *
 *   m ← β₁ m + (1 − β₁) Δ, β₁ = 0      v ← v + Δ²      w ← w + η m / (√v + τ)
 *
 * Source: Reddi et al. 2021, Algorithm 2, https://arxiv.org/abs/2003.00295
 */
export const fedAdagrad = defineStrategy({
  name: "fedadagrad",
  needs: meanNeeds,
  config: z.strictObject({
    ...fedOptOptions,
    beta1: fedOptOptions.beta1.unwrap().default(0).describe("β₁, decay of the first moment"),
  }),
  presets: {
    paper: {},
    flower: { initialV: 0 },
    fedmllm: { weights: "uniform", learningRate: 1e-3 },
  },
  build: (config) => fedOpt(config, (v, square) => v + square),
});
