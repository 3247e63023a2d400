/** A learner that costs nothing and whose gradients can be worked out by hand. */
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import type { Gradients, Learner, Row } from "../../training/learner.ts";

/** A row pulls both tensors towards `target`: loss = Σ labels · ½ (w - target)², one term a label. */
export interface Pull extends Row {
  readonly target: number;
  readonly labels: number;
}

export const W = "base_model.model.layers.0.w.lora_A.weight";
export const V = "base_model.model.layers.1.v.lora_B.weight";

export const pull = (id: string, target: number, labels = 1): Pull => ({
  id,
  length: labels,
  target,
  labels,
  touched: { text: true, image: target < 0, audio: false },
});

export const learner: Learner<Pull> = {
  trainable: new Set([W, V]),
  async gradients(rows, parameters): Promise<Gradients> {
    const gradient = (name: string) => {
      const { shape, data } = parameters.get(name)!;
      return float32(
        shape,
        Float32Array.from(data as Float32Array, (w) =>
          rows.reduce((sum, row) => sum + row.labels * (w - row.target), 0),
        ),
      );
    };
    return {
      ...lossOf(rows, parameters),
      gradients: tensorSet([W, V].map((name) => [name, gradient(name)])),
    };
  },
  losses: async (rows, parameters) => lossOf(rows, parameters),
};

function lossOf(rows: readonly Pull[], parameters: TensorSet) {
  const values = [W, V].flatMap((name) => [...(parameters.get(name)!.data as Float32Array)]);
  const lossSum = rows.reduce(
    (sum, row) => sum + row.labels * values.reduce((s, w) => s + 0.5 * (w - row.target) ** 2, 0),
    0,
  );
  return { lossSum, labels: rows.reduce((sum, row) => sum + row.labels, 0) };
}

export const adapter: Adapter = {
  config: {
    base: "",
    rank: 1,
    alpha: 1,
    rslora: false,
    dropout: 0,
    targets: ["w"],
    rankPattern: {},
    alphaPattern: {},
    modulesToSave: [],
  },
  tensors: tensorSet([
    [W, float32([1, 2], [0, 1])],
    [V, float32([2, 1], [2, 3])],
  ]),
};
