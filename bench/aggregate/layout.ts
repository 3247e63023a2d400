/** The adapter of the benchmark: rank 8 on four projections of hidden size 2048, 128 KiB a module. */
import type { Adapter, AdapterConfig } from "../../adapters/adapter.ts";
import { float32, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { factorName } from "../../adapters/tensor-names.ts";
import { createRng } from "../../base/rng.ts";

export const HIDDEN = 2048;
export const RANK = 8;

const CONFIG: AdapterConfig = {
  base: "",
  rank: RANK,
  alpha: RANK,
  rslora: false,
  dropout: 0,
  targets: ["q_proj", "k_proj", "v_proj", "o_proj"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

/** @param mib float32 values in all */
export function adapterOf(mib: number, seed: string): Adapter {
  const modules = (mib * 2 ** 20) / (4 * 2 * RANK * HIDDEN);
  const tensors: TensorSet = tensorSet(
    Array.from({ length: modules }, (_, at) => {
      const path = `model.layers.${at >> 2}.self_attn.${CONFIG.targets[at % 4]}`;
      return (["lora_A", "lora_B"] as const).map((part) => {
        const rng = createRng(seed).fork(path, part);
        const values = Float32Array.from({ length: RANK * HIDDEN }, () => rng.uniform() - 0.5);
        return [
          factorName(path, part),
          float32(part === "lora_A" ? [RANK, HIDDEN] : [HIDDEN, RANK], values),
        ] as const;
      });
    }).flat(),
  );
  return { config: CONFIG, tensors };
}
