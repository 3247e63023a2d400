/** What a task asks of a client, beside its blobs: travels as canonical JSON in Task.options_json. */
import { z } from "zod";
import { trainingOptions } from "./training.ts";

/** A regular expression over tensor names. */
const namePattern = z.string().min(1).max(4096);

export const trainOptions = z.strictObject({
  kind: z.literal("train"),
  /** Everything random in the task comes from it. */
  seed: z.string().min(1),
  /** Of the run: the same examples come again. */
  rounds: z.int().positive().optional(),
  training: trainingOptions,
  prompt: z.enum(["standard", "modality-agnostic"]),
  /** How the update travels back. */
  codec: z.string().min(1),
  /** Tensors that travel back; all where it is absent. */
  travels: namePattern.optional(),
  /** Tensors that keep the value they were handed out with. */
  frozen: namePattern.optional(),
  proximal: z
    .strictObject({
      mu: z.number(),
      weight: z.number(),
      layers: z.tuple([z.int(), z.int()]).readonly().optional(),
    })
    .optional(),
  /** Two further terms of the loss (aggregators/strategies/yoco.ts, hetlora.ts). */
  regularizers: z
    .strictObject({
      sign: z
        .strictObject({ weight: z.number(), gamma: z.tuple([z.number(), z.number()]).readonly() })
        .optional(),
      sparsity: z.strictObject({ lambda: z.number() }).optional(),
      tail: z.strictObject({ lambda: z.number(), keep: z.number() }).optional(),
    })
    .optional(),
  /** The client's own rank, at most the adapter's; the adapter's where it is absent. */
  rank: z.int().positive().optional(),
  /** Lowers the rank after training where the last rows lost weight (training/rank-pruning.ts). */
  prune: z.strictObject({ keep: z.number(), leastRank: z.int().positive() }).optional(),
  /** Tensor sets that are wanted beside the update: "fisher". */
  extras: z.array(z.string().min(1)).readonly().optional(),
  /** How they travel: "log8"; whole where it is absent. */
  extrasCodec: z.string().min(1).optional(),
  /** Numbers to measure before training starts: "lossBefore". */
  measure: z.array(z.string().min(1)).readonly().optional(),
});

export const evaluateOptions = z.strictObject({
  kind: z.literal("evaluate"),
  seed: z.string().min(1),
  prompt: z.enum(["standard", "modality-agnostic"]),
  metrics: z.array(z.string().min(1)),
  limit: z.int().positive().optional(),
  maxNewTokens: z.int().positive(),
  /** How answer options are scored. */
  options: z.enum(["mean", "sum", "next"]).default("mean"),
  batchSize: z.int().positive(),
});

export const taskOptions = z.discriminatedUnion("kind", [trainOptions, evaluateOptions]);

export type TrainOptions = z.output<typeof trainOptions>;
export type EvaluateOptions = z.output<typeof evaluateOptions>;
export type TaskOptions = z.output<typeof taskOptions>;
