/**
 * Stochastic gradient descent, as torch.optim.SGD computes it (dampening 0, no Nesterov). The first step's
 * buffer is the gradient itself, which a zero buffer gives too:
 *
 *   g ← g + λθ        b ← μb + g        θ ← θ - γb
 *
 *   γ learning_rate   λ weight_decay (coupled)   μ momentum
 */
import type { TrainingOptions } from "../../config/training.ts";
import type { UpdateRule } from "./rule.ts";

export function sgd({ momentum, weight_decay: decay }: TrainingOptions): UpdateRule {
  return {
    elementwise: true,
    slots: ({ shape }): Record<string, readonly number[]> =>
      momentum === 0 ? {} : { momentum_buffer: shape },
    update({ data }, gradient, slots, _step, learningRate) {
      const buffer = slots.momentum_buffer;
      for (let i = 0; i < data.length; i++) {
        let g = gradient[i]! + decay * data[i]!;
        if (buffer !== undefined) {
          g += momentum * buffer[i]!;
          buffer[i] = g;
        }
        data[i]! -= learningRate * g;
      }
    },
  };
}
