/**
 * What a trainer is: it takes an adapter and examples, and gives an adapter back. Scores are computed by
 * data/metrics from predictions, never by trainers.
 */
import type { Adapter, AdapterConfig } from "../adapters/adapter.ts";
import type { TensorSet } from "../adapters/tensor.ts";
import type { TrainingOptions } from "../config/training.ts";
import type { Example } from "../data/example.ts";
import type { SingularInit } from "./singular-init.ts";

export interface TrainTask {
  /** The adapter handed out. Never changed: the result holds a new one. */
  readonly adapter: Adapter;
  readonly options: TrainingOptions;
  /** Order of examples, dropout masks: everything random in this task comes from it. */
  readonly seed: string;
  /** Rounds of the run, in which tasks on the same examples may come again; 1 where absent. */
  readonly rounds?: number;
  /** Tensors that keep the value they were handed out with: a regular expression over names. */
  readonly frozen?: string;
  /** Adds weight * mu / 2 * ||w - w_handed_out||^2 over the layers in the range, both ends included (all, if absent). */
  readonly proximal?: {
    readonly mu: number;
    readonly weight: number;
    readonly layers?: readonly [number, number];
  };
  /** YOCO's two terms and HetLoRA's. */
  readonly regularizers?: {
    /** weight * || tanh(γB) - S || / (||S|| + 1e-6), S = sign of the B handed out, γ by cosine from..to over the steps. */
    readonly sign?: { readonly weight: number; readonly gamma: readonly [number, number] };
    /** lambda * || A ||_1 */
    readonly sparsity?: { readonly lambda: number };
    /** lambda * Σ || B[:, from floor(keep r) on] || || A[from floor(keep r) on, :] || over the modules */
    readonly tail?: { readonly lambda: number; readonly keep: number };
  };
  /**
   * Further sets to compute: "fisher", the mean over examples of the squared gradient of an example's mean loss at
   * the final weights; "optimizer", the optimizer's state, for `optimizerState` of a later task.
   */
  readonly extras?: readonly string[];
  /** Numbers to measure before the first step: "lossBefore". */
  readonly measure?: readonly string[];
  /**
   * Sets handed out beside the adapter: "gradient" is added to the gradient of every step, before clipping; "base",
   * factors of scale 1 named as the adapter's, is added to the frozen base.
   */
  readonly corrections?: Readonly<Record<string, TensorSet>>;
  /** The client's own rank, which the adapter has been cut to. */
  readonly rank?: number;
  /** State to go on from; absent: the optimizer starts afresh. */
  readonly optimizerState?: TensorSet;
}

export interface Progress {
  /** Optimizer steps done and planned; 0 while examples are prepared. */
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  /** Mean loss of the last step's labelled tokens; NaN before the first step. */
  readonly loss: number;
  readonly learningRate: number;
  readonly tokensPerSecond: number;
}

export interface TrainResult {
  readonly adapter: Adapter;
  /** Different examples trained on. */
  readonly examples: number;
  readonly steps: number;
  /** Labelled tokens trained on, each as often as it was. */
  readonly tokens: number;
  /** Of `examples`, those that held the modality. */
  readonly touched: { readonly text: number; readonly image: number; readonly audio: number };
  readonly metrics: {
    /** Mean loss over all labelled tokens of the task, and of the first and last step. */
    readonly loss: number;
    readonly lossFirst: number;
    readonly lossLast: number;
    readonly learningRateMean: number;
    /** Mean loss of the adapter handed out over the task's examples, where `measure` asks for it. */
    readonly lossBefore?: number;
  };
  readonly extras: Readonly<Record<string, TensorSet>>;
}

export interface Prediction {
  readonly id: string;
  /** What the model said: the generated text, or the likeliest option. */
  readonly text: string;
  /** Log-likelihood of each option, in the example's order, where it had options. */
  readonly optionScores?: readonly number[];
  /** Mean negative log-likelihood per token of the true answer, in nats, where asked for. */
  readonly loss?: number;
  /** Labelled tokens that `loss` is the mean of. */
  readonly tokens?: number;
}

export interface PredictTask {
  /** Undefined: the base model alone. */
  readonly adapter: Adapter | undefined;
  readonly maxNewTokens: number;
  readonly batchSize: number;
  /** How options are scored (training/options.ts); "mean" where absent. */
  readonly optionScore?: "mean" | "sum" | "next";
  /** Also the loss on the true answer, for examples that end with the assistant's turn. */
  readonly loss?: boolean;
}

/** What a fresh adapter is to be; `train` tells which part of the model a list of targets means ("decoder"). */
export type AdapterRequest = Omit<AdapterConfig, "base"> & {
  readonly train?: "decoder" | "connector" | "vision" | "audio" | "all";
  /** With a core R between the factors (Fed-SB): B is drawn as A is, R begins at zero and is all that is trained. */
  readonly core?: boolean;
  /** Factors from the singular vectors of the base's weights (singular-init.ts); drawn where absent. */
  readonly init?: SingularInit | undefined;
};

export interface TrainControl {
  onProgress?: (progress: Progress) => void;
  /** Called before `train` rejects, with the adapter as it was after the last good step. */
  onPartial?: (adapter: Adapter, step: number) => void;
  signal?: AbortSignal;
}

/** One of several tasks that are trained together. */
export interface TrainJob {
  readonly task: TrainTask;
  readonly examples: readonly Example[];
  readonly control: TrainControl;
}

/** What decides how many tasks go together. */
export interface Togetherness {
  /** Tasks in one pass at most. */
  readonly atOnce: number;
  /** Bytes that the tasks and their passes may take beyond what the trainer holds anyway; no bound where absent. */
  readonly memoryBytes?: number;
  /** Told what the bound comes to, before the first pass of tasks that could share one. */
  onPlan?(plan: TogetherPlan): void;
}

export interface TogetherPlan {
  readonly tasks: number;
  /** As many at a time as were asked for and are there. */
  readonly wanted: number;
  /** As many as there is room for. */
  readonly atOnce: number;
  readonly bytesEach: number;
}

export interface Trainer {
  /** "onnx", "tfjs", "command". */
  readonly name: string;
  /** SHA-256 of the base model, as Adapter.config.base has it. */
  readonly baseHash: string;
  /** A fresh adapter for this model: A random from the seed, B zero. */
  createAdapter(request: AdapterRequest, seed: string): Promise<Adapter>;
  /** @throws FedloomError F2136 once the signal aborts, F2137 where loss or gradients are not finite */
  train(task: TrainTask, examples: readonly Example[], control: TrainControl): Promise<TrainResult>;
  /**
   * What `train` gives for each job, but for rounding, with several jobs in one pass over the frozen weights. Jobs
   * begin in their order; each promise settles as soon as its job ends. Absent where a trainer takes one at a time.
   */
  trainTogether?(jobs: readonly TrainJob[], how: Togetherness): Promise<TrainResult>[];
  predict(
    task: PredictTask,
    examples: readonly Example[],
    control: { signal?: AbortSignal },
  ): Promise<Prediction[]>;
  close(): Promise<void>;
}
