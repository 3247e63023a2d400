/** A trainer that trains nothing: what it gives back is what it was handed, moved by a constant of each client's own. */
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { createRng } from "../../base/rng.ts";
import type { Trainer } from "../../training/trainer.ts";
import { ECHO_TENSORS, ECHO_WIDTH } from "./cases.ts";

export const ECHO_BASE = "e".repeat(64);

/** @param mib payload in all */
export function echoTrainer(mib: number): Trainer {
  const rank = (mib * 2 ** 20) / 4 / ECHO_TENSORS / ECHO_WIDTH;
  return {
    name: "echo",
    baseHash: ECHO_BASE,
    async createAdapter(request): Promise<Adapter> {
      const rng = createRng("echo");
      const data = Float32Array.from({ length: rank * ECHO_WIDTH }, () => rng.normal());
      const pairs = Array.from({ length: ECHO_TENSORS / 2 }, (_, i) => `base_model.model.layers.${i}.q_proj`);
      return {
        config: { ...request, base: ECHO_BASE, rank },
        tensors: tensorSet(
          pairs.flatMap((path) => [
            [`${path}.lora_A.weight`, float32([rank, ECHO_WIDTH], data)] as const,
            [`${path}.lora_B.weight`, float32([ECHO_WIDTH, rank], data)] as const,
          ]),
        ),
      };
    },
    async train({ adapter }, examples) {
      const step = 1e-3 * Number(/\d+/.exec(examples[0]!.id)); // as flower_echo.py has it
      const tensors = tensorSet(
        [...adapter.tensors].map(([name, { shape, data }]) => {
          return [name, float32(shape, movedBy(data as Float32Array, step))]; // as: it made them itself
        }),
      );
      return {
        adapter: { ...adapter, tensors },
        examples: examples.length,
        steps: 1,
        tokens: examples.length,
        touched: { text: examples.length, image: 0, audio: 0 },
        metrics: { loss: 1, lossFirst: 1, lossLast: 1, learningRateMean: 0 },
        extras: {},
      };
    },
    predict: async () => [],
    close: async () => {},
  };
}

export function movedBy(values: Float32Array, step: number): Float32Array {
  const moved = new Float32Array(values.length);
  for (let i = 0; i < moved.length; i++) moved[i] = values[i]! + step;
  return moved;
}
