import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import type { Tensor } from "../../adapters/tensor.ts";
import { defineStrategy } from "../strategy.ts";
import { mapGlobal, meanOf, pseudoGradient, stateTensor, stateValues } from "../weighted-mean.ts";
import { weightsOf, weightsOption } from "../weights.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * FedAvg with momentum at the server. Two formulas go by this name, and they are not each other's rescaling:
 *
 *   heavy-ball   v ← β v + Δ              w ← w + η v      Δ = Σ p_k w_k − w
 *   ema          v ← β v + (1 − β) Δ      w ← w + η v      v = Δ in the first round
 *
 * A tensor that nobody sent keeps its v: feeding it Δ = 0 would let its momentum decay.
 *
 * Source: heavy-ball: Hsu et al. 2019, section 4.3, https://arxiv.org/abs/1909.06335, and Flower 1.41 (whose
 * default β = 0 makes it FedAvg); ema: the code published with FedMLLM (2411.14717) and OpenFedLLM (2402.06954)
 */
export const fedAvgM = defineStrategy({
  name: "fedavgm",
  needs: meanNeeds,
  config: z.strictObject({
    weights: weightsOption.default("examples"),
    learningRate: z.number().positive().default(1).describe("η, the server's step"),
    momentum: z.number().min(0).lt(1).default(0.9).describe("β"),
    form: z.enum(["heavy-ball", "ema"]).default("heavy-ball").describe("which of the two formulas"),
  }),
  presets: {
    paper: { momentum: 0.9 },
    flower: { momentum: 0 },
    fedmllm: { form: "ema", momentum: 0.9 },
  },
  build: ({ weights: axis, learningRate, momentum, form }) => ({
    init: () => ({ scalars: {}, tensors: { v: new Map() } }),
    aggregate(state, { global }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const velocity = new Map(state.tensors.v);
      const next = mapGlobal(global, updates, (name, old) => {
        const mean = meanOf(updates, name, weights);
        if (mean === undefined) return undefined;
        const step = pseudoGradient(mean, old);
        const isFirst = !velocity.has(name);
        const v = stateValues(velocity, name, old);
        const share = form === "heavy-ball" || isFirst ? 1 : 1 - momentum;
        for (let i = 0; i < v.length; i++) v[i] = momentum * v[i]! + share * step[i]!;
        velocity.set(name, stateTensor(old.shape, v));
        return stepped(old, v, learningRate);
      });
      return {
        state: { scalars: {}, tensors: { v: velocity } },
        global: next,
        report: {},
      };
    },
  }),
});

function stepped(old: Tensor, v: Float64Array, learningRate: number): Float64Array {
  const values = new Float64Array(floats(old));
  for (let i = 0; i < values.length; i++) values[i] = values[i]! + learningRate * v[i]!;
  return values;
}
