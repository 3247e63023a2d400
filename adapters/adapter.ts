/**
 * A LoRA adapter in memory. On disk it is always a PEFT directory (peft.ts).
 *
 * Invariants, checked where an adapter enters (peft.ts, the update check of the aggregators):
 *  1. Names are PEFT's: `base_model.model.<module path>.lora_A.weight` [r, in], `.lora_B.weight` [out, r];
 *     saved modules `base_model.model.<module path>.weight` and `.bias`.
 *  2. The two factors of a module have the same rank, and it is `rankOf(adapter, modulePath)`.
 */
import type { TensorSet } from "./tensor.ts";

export interface AdapterConfig {
  /** SHA-256 over the base model's graphs and weights (training/models), or the empty string where unknown. */
  readonly base: string;
  readonly rank: number;
  readonly alpha: number;
  /** Scale alpha / sqrt(r) instead of alpha / r. */
  readonly rslora: boolean;
  readonly dropout: number;
  /** Suffixes of module paths, or one string: a regular expression that matches whole paths. */
  readonly targets: readonly string[] | string;
  /** Ranks and alphas of the modules whose path ends with the key (preceded by a dot or the start). */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Modules trained and stored whole. */
  readonly modulesToSave: readonly string[];
}

export interface Adapter {
  readonly config: AdapterConfig;
  readonly tensors: TensorSet;
}
