/**
 * What a trainer is: it takes an adapter and examples, and gives an adapter back. Scores are computed by
 * data/metrics from predictions, never by trainers.
 */
import type { Adapter } from "../adapters/adapter.ts";
import type { TensorSet } from "../adapters/tensor.ts";
import type { TrainingOptions } from "../config/training.ts";
import type { Example } from "../data/example.ts";

export interface TrainTask {
  /** The adapter handed out. Never changed: the result holds a new one. */
  readonly adapter: Adapter;
  readonly options: TrainingOptions;
  /** Order of examples, dropout masks: everything random in this task comes from it. */
  readonly seed: string;
  /** Tensors that keep the value they were handed out with: a regular expression over names. */
  readonly frozen?: string;
  readonly proximal?: {
    readonly mu: number;
    readonly weight: number;
    readonly layers?: readonly [number, number];
  };
  /** Further sets to compute: "fisher". */
  readonly extras?: readonly string[];
  /** Sets handed out beside the adapter: "control". */
  readonly corrections?: Readonly<Record<string, TensorSet>>;
}

export interface Progress {
  /** Optimizer steps done and planned. */
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  /** Mean loss of the last step's labelled tokens. */
  readonly loss: number;
  readonly learningRate: number;
  readonly tokensPerSecond: number;
}

export interface TrainResult {
  readonly adapter: Adapter;
  readonly examples: number;
  readonly steps: number;
  /** Labelled tokens trained on. */
  readonly tokens: number;
  readonly touched: { readonly text: number; readonly image: number; readonly audio: number };
  /** Mean loss over all labelled tokens of the task, and of the first and last step. */
  readonly metrics: { readonly loss: number; readonly lossFirst: number; readonly lossLast: number };
  readonly extras: Readonly<Record<string, TensorSet>>;
}

export interface Prediction {
  readonly id: string;
  /** What the model said: the generated text, or the likeliest option. */
  readonly text: string;
  /** Mean log-likelihood per token of each option, in the example's order, where it had options. */
  readonly optionScores?: readonly number[];
  /** Mean negative log-likelihood per token of the true answer, in nats, where asked for. */
  readonly loss?: number;
  /** Labelled tokens that `loss` is the mean of. */
  readonly tokens?: number;
}

export interface PredictTask {
  readonly adapter: Adapter | undefined;
  readonly maxNewTokens: number;
  readonly batchSize: number;
}

export interface Trainer {
  /** "onnx", "tfjs", "command". */
  readonly name: string;
  /** SHA-256 of the base model, as Adapter.config.base has it. */
  readonly baseHash: string;
  /** A fresh adapter for this model: A random from the seed, B zero. */
  createAdapter(config: Omit<Adapter["config"], "base">, seed: string): Promise<Adapter>;
  train(
    task: TrainTask,
    examples: readonly Example[],
    control: { onProgress?: (progress: Progress) => void; signal?: AbortSignal },
  ): Promise<TrainResult>;
  predict(
    task: PredictTask,
    examples: readonly Example[],
    control: { signal?: AbortSignal },
  ): Promise<Prediction[]>;
  close(): Promise<void>;
}
