/**
 * What a run file says. The form is checked here; whether the strategy exists and fits the rest is checked
 * where the registry is (server/plan.ts), whether the model does, where a trainer opens it.
 *
 * Parsing a resolved configuration again gives the same one, so that its canonical JSON names it.
 */
import { z } from "zod";
import { duration } from "./duration.ts";
import { fleetConflicts, fleetSection } from "./fleet.ts";
import { trainingOptions } from "./training.ts";

/** Names of runs and of clients: what may stand in a path, a certificate and a URL. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** A strategy or a wrapper with its options; the registry knows which ones there are. */
const spec = z.looseObject({ name: z.string().min(1), preset: z.string().optional() });

const adapter = z.strictObject({
  /** A PEFT directory to begin from; its own rank, alpha and targets then hold. */
  from: z.string().min(1).optional(),
  rank: z.int().min(1).max(1024).default(8),
  alpha: z.number().positive().default(8),
  dropout: z.number().min(0).lt(1).default(0),
  rslora: z.boolean().default(false),
  /** A core R [rank, rank] between fixed factors, for strategies that train it alone (fed-sb). */
  core: z.boolean().default(false),
  /** Factors from the singular vectors of the base's weights: both, or B alone. Drawn where it is absent. */
  init: z.enum(["svd", "svd-b"]).optional(),
  targets: z
    .union([z.array(z.string().min(1)).min(1), z.string().min(1)])
    .default(["q_proj", "k_proj", "v_proj", "o_proj"]),
  train: z.enum(["decoder", "connector", "vision", "audio", "all"]).default("decoder"),
  /** Ranks and alphas of modules by the end of their path, in place of `rank` and `alpha`; keys are regular expressions. */
  rankPattern: z.record(z.string().min(1), z.int().min(1).max(1024)).optional(),
  alphaPattern: z.record(z.string().min(1), z.number().positive()).optional(),
  /** Modules trained and sent whole beside the factors, by the end of their path: heads, norms, embeddings. */
  modulesToSave: z.array(z.string().min(1)).min(1).optional(),
});

const limits = {
  /** Longest time that a task, a transfer or an absent client may stand still. */
  idle: duration.default("60s"),
};

/** Rounds, each of a cohort that is drawn when it opens. */
const syncCohort = z
  .strictObject({
    mode: z.literal("sync").optional(),
    /** Clients whose updates a round wants. */
    perRound: z.int().positive(),
    /** Updates without which a round fails; half of perRound, rounded up, where it is absent. */
    quorum: z.int().positive().optional(),
    /** Clients that must be there before round 1; perRound where it is absent. */
    minClients: z.int().positive().optional(),
    /** Clients asked beyond perRound; the round closes with the first perRound updates. */
    overSelect: z.int().min(0).default(0),
    /** How long a round that has its quorum waits for the rest; until the deadline where it is absent. */
    grace: duration.optional(),
    /** Longest time of a round. A coordinator that was down gives the whole time again. */
    deadline: duration.default("30m"),
    ...limits,
    sampling: z.enum(["seeded", "published"]).default("seeded"),
  })
  .refine(({ perRound, quorum }) => quorum === undefined || quorum <= perRound, {
    path: ["quorum"],
    error: "must not be above perRound",
  });

/** A round is over with so many updates, whatever global adapter each started from (FedBuff). */
const asyncCohort = z.strictObject({
  mode: z.literal("async"),
  /** Clients that train at any time; whoever answers makes place for another one at once. */
  concurrency: z.int().positive(),
  /** Updates that make a round, K. */
  buffer: z.int().positive().default(10),
  /** Rounds that the global adapter may have moved on since an update's own start; what is staler is not used. */
  maxStaleness: z.int().min(0).optional(),
  /** Clients that must be there before round 1; concurrency where it is absent. */
  minClients: z.int().positive().optional(),
  /** Longest time of a client's task; with nobody at work, longest time to wait for a client. */
  deadline: duration.default("30m"),
  ...limits,
  sampling: z.literal("seeded").default("seeded"),
});

const cohort = z.discriminatedUnion("mode", [syncCohort, asyncCohort]);

const evaluation = z.strictObject({
  /** Directory of the coordinator's own held-out examples; where it is absent, the held-out part of fleet.data. */
  data: z.string().min(1).optional(),
  /** Every so many rounds, and after the last. */
  every: z.int().positive().default(1),
  metrics: z.array(z.string().min(1)).default([]),
  /** Examples looked at, in the order of the data; all where it is absent. */
  limit: z.int().positive().optional(),
  maxNewTokens: z.int().positive().default(32),
  /** How answer options are scored: per token, as a whole, or by the first token in which they differ. */
  options: z.enum(["mean", "sum", "next"]).default("mean"),
  batchSize: z.int().positive().default(8),
  /** Also on the held-out examples of the round's clients. */
  onClients: z.boolean().default(false),
});

const proximal = z.strictObject({
  mu: z.number().min(0),
  weight: z.number().min(0).default(1),
  /** First and last layer that the term counts in, both included; all where it is absent. */
  layers: z.tuple([z.int().min(0), z.int().min(0)]).optional(),
});

export const runConfig = z
  .strictObject({
    name: z.string().regex(NAME),
    /** Directory of the base model in the hub's layout. */
    model: z.string().min(1),
    adapter: adapter.prefault({}),
    rounds: z.int().positive(),
    seed: z.int().default(42),
    /** Sites that may take part; every client that joins where it is absent. */
    clients: z.array(z.string().regex(NAME)).min(1).optional(),
    cohort,
    strategy: spec.default({ name: "fedavg" }),
    wrappers: z.array(spec).default([]),
    training: trainingOptions.prefault({}),
    prompt: z.enum(["standard", "modality-agnostic"]).default("standard"),
    proximal: proximal.optional(),
    /** How updates travel. */
    codec: z.string().min(1).default("fp32"),
    evaluation: evaluation.optional(),
    /** Measure each round's updates: who moved how far, who pulls against the rest, what averaging loses. About a second for large adapters. */
    diagnostics: z.boolean().default(true),
    /** Global adapters that stay on disk beside the first and the newest. */
    keep: z
      .strictObject({
        last: z.int().positive().default(3),
        every: z.int().positive().optional(),
        /** The round with the best value of this metric of the coordinator's own evaluation; of equal ones the first. */
        best: z.string().min(1).optional(),
      })
      .prefault({}),
    fleet: fleetSection.optional(),
  })
  .superRefine((config, context) => {
    for (const { path, error } of fleetConflicts(config)) {
      context.addIssue({ code: "custom", path: ["fleet", ...path], message: error });
    }
    const { keep, evaluation } = config;
    if (keep.best !== undefined && !evaluation?.metrics.includes(keep.best)) {
      const message = `must be one of evaluation.metrics, got "${keep.best}"`;
      context.addIssue({ code: "custom", path: ["keep", "best"], message });
    }
    if (isAsync(config) && config.evaluation?.onClients === true) {
      const message = "is for rounds that clients wait for; with cohort.mode async they go on training";
      context.addIssue({ code: "custom", path: ["evaluation", "onClients"], message });
    }
  });

export type RunConfig = z.output<typeof runConfig>;

/** Metrics of which less is better; of all others more is. */
export const LESS_IS_BETTER: ReadonlySet<string> = new Set(["loss", "perplexity"]);

/** Keys that hold paths, relative to the run file. */
export const RUN_PATHS = ["model", "adapter.from", "evaluation.data", "fleet.partition", "fleet.data"];

type Cohort = z.output<typeof cohort>;
type AsyncCohort = z.output<typeof asyncCohort>;

export function isAsync<T extends { readonly cohort: Cohort }>(
  config: T,
): config is T & { readonly cohort: AsyncCohort } {
  return config.cohort.mode === "async";
}

/** Updates without which a round is not aggregated. */
export function quorumOf({ cohort }: { readonly cohort: Cohort }): number {
  if (cohort.mode === "async") return cohort.buffer;
  return cohort.quorum ?? Math.ceil(cohort.perRound / 2);
}
