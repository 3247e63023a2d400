/**
 * What a strategy is: a value with pure functions. Its configuration is captured when it is built; its state
 * is scalars and tensor sets, so that the store can save it (state-file.ts); equal inputs give equal bits.
 *
 * Three things come out of a round, not one: the global adapter to hand out, what is to be added to the frozen
 * base, and the state that is kept. Two rules with the same average train differently when any of them differs.
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
  /** `loss`; `lossBefore` and `learningRateMean` where the plan or the rule wants them. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly adapter: AdapterConfig;
  /** Rounds that the global adapter moved on since this client was handed its own; 0 unless asynchronous. */
  readonly staleness?: number;
  /** Tells a client's updates of one round apart where it may send several; from 1 in the order of their starts. */
  readonly draw?: number;
}

/**
 * The round's updates, clients in byte order of their ids. Whole tensors, never differences.
 * One tensor of one client is in memory at a time where a rule can do with that, and one tensor of every
 * client where it cannot; never a whole model times the clients.
 */
export interface Updates {
  readonly clients: readonly UpdateInfo[];
  /** Names that at least one client sent, in byte order. */
  readonly names: readonly string[];
  has(client: number, name: string): boolean;
  /** Of a tensor that the client has. */
  shape(client: number, name: string): readonly number[];
  /** A client's tensor, undefined where it has none of that name. The caller may not write into it. */
  tensor(client: number, name: string): Tensor | undefined;
  /**
   * Fills `target` with the elements of a float32 tensor from `from` on, where a part can be read without the rest;
   * false where not, and `target` is then undefined.
   */
  slice?(client: number, name: string, from: number, target: Float32Array): boolean;
  /** A tensor of a further set that the strategy asked for with `extras`: "fisher". */
  extra(client: number, kind: string, name: string): Tensor | undefined;
  /** The tensor the client started from, where that is not the current global (asynchronous runs). */
  base?(client: number, name: string): Tensor | undefined;
}

export interface StrategyState {
  readonly scalars: Readonly<Record<string, number>>;
  readonly tensors: Readonly<Record<string, TensorSet>>;
}

export const EMPTY_STATE: StrategyState = { scalars: {}, tensors: {} };

export interface Proximal {
  readonly mu: number;
  readonly weight: number;
  /** First and last layer, both included; names without a layer number are then left out. */
  readonly layers?: readonly [number, number];
}

/** YOCO's two terms at the client (yoco.ts), and HetLoRA's (hetlora.ts). */
export interface Regularizers {
  /** weight * || tanh(γB) - S || / (||S|| + 1e-6), S = sign of the B handed out, γ by cosine over the steps. */
  readonly sign?: { readonly weight: number; readonly gamma: readonly [number, number] };
  /** lambda * || A ||_1 */
  readonly sparsity?: { readonly lambda: number };
  /** lambda * Σ ||B[:, > γr]||_F ||A[> γr, :]||_F over the modules, γ = keep */
  readonly tail?: { readonly lambda: number; readonly keep: number };
}

/** r ← max(leastRank, floor(keep r)) after training, where the tail's products became smaller. */
export interface Pruning {
  readonly keep: number;
  readonly leastRank: number;
}

/** What one client of a round is told beyond the run's training options. Nothing but data: it travels. */
export interface ClientInstructions {
  /** Tensors that travel: a regular expression over names. What does not travel stays the client's own. */
  readonly travels?: string;
  /** Tensors that keep the value they were handed out with: a regular expression over names. */
  readonly frozen?: string;
  /** Adds weight * mu / 2 * ||w - w_global||^2 over the layers in the range (all, if absent). */
  readonly proximal?: Proximal;
  readonly regularizers?: Regularizers;
  /** The client's own rank, below the global one; absent: the global one. */
  readonly rank?: number;
  readonly prune?: Pruning;
  /** Sets that clients must send beside the update: "fisher". */
  readonly extras?: readonly string[];
  /** Codecs for those sets, the one wanted most first (adapters/encoded-set.ts); a client that knows none sends float32. */
  readonly extrasCodecs?: readonly string[];
  /** Numbers to measure before training starts: "lossBefore". */
  readonly measure?: readonly string[];
  /**
   * Sets handed out beside the adapter. "gradient" is added to the gradient of every step: SCAFFOLD's c - c_k,
   * FedDyn's -h_k. The strategy keeps both in its state, since each follows from the client's updates; a client
   * that lost its disk loses nothing.
   */
  readonly corrections?: Readonly<Record<string, TensorSet>>;
}

export interface PlanContext {
  readonly round: number;
  readonly client: string;
  readonly global: Adapter;
}

export interface AggregateContext {
  readonly round: number;
  readonly global: Adapter;
  readonly rng: Rng;
  /** Clients that the run can draw from: N, where `updates.clients` are the round's S. */
  readonly totalClients: number;
}

export interface AggregateResult {
  readonly global: Adapter;
  /**
   * Low-rank side factors to add to the frozen base, same naming as an adapter (FedEx-LoRA, FLoRA): the sum of
   * all rounds so far, so that the latest replaces the one before.
   */
  readonly baseDelta?: Adapter;
  readonly state: StrategyState;
  /** Numbers for metrics.jsonl. */
  readonly report: Readonly<Record<string, number>>;
}

export interface Strategy {
  init(global: Adapter): StrategyState;
  plan?(state: StrategyState, context: PlanContext): ClientInstructions;
  aggregate(state: StrategyState, context: AggregateContext, updates: Updates): AggregateResult;
}

/** What a strategy needs and can; a run's configuration is checked against it before round 1 (needs.ts). */
export interface Needs {
  readonly minUpdates: number;
  /** Reads single updates: works neither on masked sums nor under the noise wrapper, which see one mean. */
  readonly readsSingleUpdates: boolean;
  /** What is added up, sorted or measured: each factor A and B apart, or their products B·A. */
  readonly space: "factors" | "products";
  /**
   * The smallest part whose result depends on nothing else: rounds are split along it over worker threads.
   * "adapter" where a rule looks at all tensors together.
   */
  readonly separable: "tensor" | "module" | "adapter";
  readonly heterogeneousRanks?: boolean;
  readonly missingTensors?: boolean;
  /** Works where the base cannot be changed exactly (int4, int8): returns no `baseDelta`, or factors beside it. */
  readonly quantizedBase?: boolean;
  /** Returns a `baseDelta`: clients must be able to add side factors to the frozen base. */
  readonly changesBase?: boolean;
  /** Trains a core between fixed factors: the run's adapter must have one (`adapter.core`), and only then may it. */
  readonly core?: boolean;
  /** Its clients change their ranks: updates have other shapes than what was handed out. */
  readonly prunesRanks?: boolean;
  /** Takes updates that started from an older global adapter. */
  readonly asynchronous?: boolean;
  /** Rounds that the rule is made for; one for one-shot rules. */
  readonly rounds?: number;
}

/** Its docstring (what it gives, formula, source) and its options' descriptions make its part of docs/strategies.md. */
export interface StrategyDefinition<Config extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  readonly needs: Needs | ((config: z.output<Config>) => Needs);
  readonly config: Config;
  /** Published settings by name; options given beside `preset` win. */
  readonly presets?: Readonly<Record<string, z.input<Config>>>;
  build(config: z.output<Config>): Strategy;
}

/** A function around any strategy: what it clips, masks or adds is the same whatever stands inside. */
export interface WrapperDefinition<Config extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  /** The needs of the wrapped strategy, from those of the inner one. @throws FedloomError where they do not go together */
  needs?(inner: Needs, config: z.output<Config>): Needs;
  readonly config: Config;
  readonly presets?: Readonly<Record<string, z.input<Config>>>;
  /** @param inner what the wrapped strategy needs */
  wrap(config: z.output<Config>, inner: Needs): (inner: Strategy) => Strategy;
}

/** Keeps the configuration's type together with `build`; adds nothing at run time. */
export function defineStrategy<Config extends z.ZodObject>(
  definition: StrategyDefinition<Config>,
): StrategyDefinition<Config> {
  return definition;
}

export function defineWrapper<Config extends z.ZodObject>(
  definition: WrapperDefinition<Config>,
): WrapperDefinition<Config> {
  return definition;
}
