/**
 * What a strategy is: a value with pure functions. Its configuration is captured when it is built; its state
 * is scalars and tensor sets, so that the store can save it; equal inputs give equal bits.
 */

import type { z } from "zod";
import type { Adapter, AdapterConfig } from "../adapters/adapter.ts";
import type { Tensor, TensorSet } from "../adapters/tensor.ts";
import type { Rng } from "../base/rng.ts";

/** The part of a model that examples of one modality reach; `shared` is reached by all. */
export type Group = "text" | "image" | "audio" | "shared";

/** What one client said of its update. Checked before any strategy sees it (update-check.ts). */
export interface UpdateInfo {
  readonly client: string;
  /** Examples trained on, at least 1. */
  readonly examples: number;
  /** Optimizer steps taken, at least 1. */
  readonly steps: number;
  /** Labelled tokens trained on, where the trainer counts them. */
  readonly tokens?: number;
  /** Examples that held the modality: what the ownership masks weigh by. */
  readonly touched: Readonly<Partial<Record<Group, number>>>;
  readonly metrics: Readonly<Record<string, number>>;
  /** Mean training loss; q-FedAvg wants the loss of the received model in `metrics.lossBefore`. */
  readonly loss?: number;
  readonly adapter: AdapterConfig;
}

/**
 * The round's updates, clients in byte order of their ids. Whole tensors, never differences.
 * Tensors are read one name at a time across clients, so that memory is bounded by
 * clients x largest tensor, not clients x model.
 */
export interface Updates {
  readonly clients: readonly UpdateInfo[];
  /** Names that at least one client sent, in byte order. */
  readonly names: readonly string[];
  /** One entry per client of `clients`; undefined where that client has no such tensor. */
  read(name: string): readonly (Tensor | undefined)[];
  /** Further tensor sets that the strategy asked for: "fisher", "control". Same rules as `read`. */
  readExtra(kind: string, name: string): readonly (Tensor | undefined)[];
}

export interface StrategyState {
  readonly scalars: Readonly<Record<string, number>>;
  readonly tensors: Readonly<Record<string, TensorSet>>;
}

export const EMPTY_STATE: StrategyState = { scalars: {}, tensors: {} };

/** What the clients of a round are told beyond the run's training options. */
export interface ClientInstructions {
  /** Tensors that travel, by a name predicate kept as data: a regular expression over tensor names. */
  readonly travels?: string;
  /** Tensors that keep the value they were handed out with. */
  readonly frozen?: string;
  /** Adds weight * mu / 2 * ||w - w_global||^2 over the layers in the range (all, if absent). */
  readonly proximal?: {
    readonly mu: number;
    readonly weight: number;
    readonly layers?: readonly [number, number];
  };
  /** Sets that clients must send beside the update. */
  readonly extras?: readonly string[];
  /** Sets that clients are handed beside the adapter (SCAFFOLD's control variate, FedDyn's h). */
  readonly corrections?: Readonly<Record<string, TensorSet>>;
}

export interface AggregateContext {
  readonly round: number;
  readonly global: Adapter;
  readonly rng: Rng;
}

export interface AggregateResult {
  readonly global: Adapter;
  /** Low-rank side factors to add to the frozen base, same naming as an adapter (FedEx-LoRA, FLoRA). */
  readonly baseDelta?: Adapter;
  readonly state: StrategyState;
  /** Numbers for metrics.jsonl. */
  readonly report: Readonly<Record<string, number>>;
}

export interface Strategy {
  init(global: Adapter): StrategyState;
  plan?(state: StrategyState, round: number): ClientInstructions;
  aggregate(state: StrategyState, context: AggregateContext, updates: Updates): AggregateResult;
}

/** What a strategy needs and can; a run's configuration is checked against it before round 1. */
export interface Needs {
  readonly minUpdates: number;
  /** Reads single updates, so that it cannot work on masked sums. */
  readonly readsSingleUpdates: boolean;
  readonly heterogeneousRanks?: boolean;
  readonly missingTensors?: boolean;
  readonly quantizedBase?: boolean;
  readonly statefulClients?: boolean;
}

export interface StrategyDefinition<Config extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly needs: Needs;
  readonly config: Config;
  build(config: z.output<Config>): Strategy;
}

/** Keeps the configuration's type together with `build`; adds nothing at run time. */
export function defineStrategy<Config extends z.ZodType>(
  definition: StrategyDefinition<Config>,
): StrategyDefinition<Config> {
  return definition;
}
