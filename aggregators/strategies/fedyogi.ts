import { z } from "zod";
import { defineStrategy } from "../strategy.ts";
import { meanNeeds } from "./fedavg.ts";
import { fedOpt, fedOptOptions } from "./fedopt.ts";

/**
 * FedYogi: as FedAdam, but v moves towards Δ² by at most (1 − β₂) Δ², so that it forgets more slowly.
 *
 *   m ← β₁ m + (1 − β₁) Δ      v ← v − (1 − β₂) Δ² sign(v − Δ²)      w ← w + η m / (√v + τ)
 *
 * Source: Reddi et al. 2021, Algorithm 2, https://arxiv.org/abs/2003.00295
 */
export const fedYogi = defineStrategy({
  name: "fedyogi",
  needs: meanNeeds,
  config: z.strictObject({
    ...fedOptOptions,
    learningRate: fedOptOptions.learningRate.unwrap().default(0.01).describe("η, the server's step"),
  }),
  presets: {
    paper: {},
    flower: { initialV: 0 },
    fedmllm: { weights: "uniform", learningRate: 1e-3, secondMomentOf: "momentum", firstMomentum: "delta" },
  },
  build: (config) => fedOpt(config, (v, square, beta2) => v - (1 - beta2) * square * Math.sign(v - square)),
});
