/**
 * Adam with decoupled weight decay and bias correction, as torch.optim.AdamW computes it:
 *
 *   θ ← θ (1 - γλ)        m ← β₁m + (1-β₁)g        v ← β₂v + (1-β₂)g²
 *   θ ← θ - γ / (1-β₁ᵗ) · m / (√v / √(1-β₂ᵗ) + ε)
 *
 *   γ learning_rate   λ weight_decay   β₁ adam_beta1   β₂ adam_beta2   ε adam_epsilon
 *
 * Source: Loshchilov and Hutter 2019, Algorithm 2, https://arxiv.org/abs/1711.05101
 */
import type { TrainingOptions } from "../../config/training.ts";
import type { UpdateRule } from "./rule.ts";

export function adamW(options: TrainingOptions): UpdateRule {
  const { adam_beta1: beta1, adam_beta2: beta2, adam_epsilon: epsilon, weight_decay: decay } = options;
  return {
    elementwise: true,
    slots: ({ shape }) => ({ exp_avg: shape, exp_avg_sq: shape }),
    update({ data }, gradient, slots, step, learningRate) {
      const m = slots.exp_avg!;
      const v = slots.exp_avg_sq!;
      const kept = 1 - learningRate * decay;
      const stepSize = learningRate / (1 - beta1 ** step);
      const rootCorrection = Math.sqrt(1 - beta2 ** step);
      for (let i = 0; i < data.length; i++) {
        const g = gradient[i]!;
        m[i]! += (1 - beta1) * (g - m[i]!);
        v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
        data[i] = data[i]! * kept - (stepSize * m[i]!) / (Math.sqrt(v[i]!) / rootCorrection + epsilon);
      }
    },
  };
}
