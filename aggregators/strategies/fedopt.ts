/**
 * What FedAdagrad, FedAdam and FedYogi share: the clients' mean step Δ is a gradient for an adaptive optimizer.
 *
 *   Δ = Σ p_k w_k − w      m ← β₁ m + (1 − β₁) Δ      v ← rule(v, Δ)      w ← w + η m / (√v + τ)
 *
 * Three published programs go by these names and differ in four places, which are options here:
 *
 *             v starts at   bias correction        v is fed with   m in the first round
 *   paper     τ²            none                   Δ               (1 − β₁) Δ
 *   flower    0             √(1−β₂^(t+1)) / (1−β₁^(t+1)), t = 1 first; Adam only
 *   fedmllm   τ²            none                   m               Δ
 *
 * A tensor that nobody sent keeps its m, v and value: feeding it Δ = 0 would let m decay.
 *
 * Source: Reddi et al. 2021, Algorithm 2, https://arxiv.org/abs/2003.00295; Flower 1.41; the code of 2411.14717
 */
import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import type { Strategy } from "../strategy.ts";
import { mapGlobal, meanOf, stateTensor, stateValues } from "../weighted-mean.ts";
import { weightsOf, weightsOption } from "../weights.ts";

export const fedOptOptions = {
  weights: weightsOption.default("examples"),
  learningRate: z
    .number()
    .positive()
    .default(0.1)
    .describe("η, the server's step; the paper tunes it for each task"),
  beta1: z.number().min(0).lt(1).default(0.9).describe("β₁, decay of the first moment"),
  beta2: z.number().min(0).lt(1).default(0.99).describe("β₂, decay of the second moment"),
  tau: z.number().positive().default(1e-3).describe("τ, degree of adaptivity"),
  initialV: z
    .union([z.literal("tau^2"), z.number().min(0)])
    .default("tau^2")
    .describe("what v starts from"),
  biasCorrection: z
    .enum(["none", "flower"])
    .default("none")
    .describe("flower: that of its FedAdam, whose exponent is one ahead of the usual"),
  secondMomentOf: z.enum(["delta", "momentum"]).default("delta").describe("what v is fed with"),
  firstMomentum: z
    .enum(["decayed", "delta"])
    .default("decayed")
    .describe("m in the first round: (1 − β₁) Δ, or Δ itself"),
} as const;

const schema = z.strictObject(fedOptOptions);
export type FedOptConfig = z.output<typeof schema>;

/** The new v of one coordinate from the old one and the square of what it is fed with. */
export type SecondMoment = (v: number, square: number, beta2: number) => number;

export function fedOpt(config: FedOptConfig, secondMoment: SecondMoment): Strategy {
  const { beta1, beta2, tau, learningRate } = config;
  const initialV = config.initialV === "tau^2" ? tau * tau : config.initialV;
  return {
    init: () => ({ scalars: { t: 0 }, tensors: { m: new Map(), v: new Map() } }),
    aggregate(state, { global }, updates) {
      const t = state.scalars.t! + 1;
      const eta = config.biasCorrection === "flower" ? learningRate * correction(config, t) : learningRate;
      const weights = weightsOf(config.weights, updates.clients);
      const firsts = new Map(state.tensors.m);
      const seconds = new Map(state.tensors.v);
      const next = mapGlobal(global, updates, (name, old) => {
        const mean = meanOf(updates, name, weights);
        if (mean === undefined) return undefined;
        const share = config.firstMomentum === "delta" && !firsts.has(name) ? 1 : 1 - beta1;
        const m = stateValues(firsts, name, old);
        const v = stateValues(seconds, name, old, initialV);
        const before = floats(old);
        for (let i = 0; i < mean.length; i++) {
          const step = mean[i]! - before[i]!;
          const mi = beta1 * m[i]! + share * step;
          const fed = config.secondMomentOf === "delta" ? step : mi;
          const vi = secondMoment(v[i]!, fed * fed, beta2);
          m[i] = mi;
          v[i] = vi;
          mean[i] = before[i]! + (eta * mi) / (Math.sqrt(vi) + tau);
        }
        firsts.set(name, stateTensor(old.shape, m));
        seconds.set(name, stateTensor(old.shape, v));
        return mean;
      });
      return {
        state: { scalars: { t }, tensors: { m: firsts, v: seconds } },
        global: next,
        report: {},
      };
    },
  };
}

/** Flower's exponent is t + 1 where t counts rounds from 1; Kingma and Ba's would be t. */
function correction({ beta1, beta2 }: FedOptConfig, t: number): number {
  return Math.sqrt(1 - beta2 ** (t + 1)) / (1 - beta1 ** (t + 1));
}
