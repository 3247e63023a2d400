import { z } from "zod";
import { defineStrategy } from "../strategy.ts";
import { meanNeeds } from "./fedavg.ts";
import { fedOpt, fedOptOptions } from "./fedopt.ts";

/**
 * FedAdam: the clients' mean step is a gradient for Adam at the server (fedopt.ts has the whole rule).
 *
 *   m ← β₁ m + (1 − β₁) Δ      v ← β₂ v + (1 − β₂) Δ²      w ← w + η m / (√v + τ)
 *
 * The paper corrects no bias. With η = τ = 1e-3 and steps far below τ (preset fedmllm) it is no sign-like Adam
 * step but a damped average with momentum; η = 0.1 (flower) is a hundred times that.
 *
 * Source: Reddi et al. 2021, Algorithm 2, https://arxiv.org/abs/2003.00295
 */
export const fedAdam = defineStrategy({
  name: "fedadam",
  needs: meanNeeds,
  config: z.strictObject(fedOptOptions),
  presets: {
    paper: {},
    flower: { initialV: 0, biasCorrection: "flower" },
    fedmllm: { weights: "uniform", learningRate: 1e-3, secondMomentOf: "momentum", firstMomentum: "delta" },
  },
  build: (config) => fedOpt(config, (v, square, beta2) => beta2 * v + (1 - beta2) * square),
});
