/** What the operator's interface says and takes, as JSON. Schemas check what comes in, on either side. */
import { z } from "zod";
import { NAME, runConfig } from "../../config/run.ts";

export const SCHEMA = "fedloom.operator/1";

/** POST /v1/runs */
export const submitBody = z.strictObject({
  /** A resolved configuration (config/run.ts); paths in it are the coordinator's. */
  config: runConfig,
  /** The same key again means the same run: a submission can be repeated when its answer got lost. */
  key: z.string().min(1).max(128).optional(),
});

/** POST /v1/runs/ID/stop */
export const stopBody = z.strictObject({ now: z.boolean().default(false) });

/** POST /v1/runs/ID/verify */
export const verifyBody = z.strictObject({ round: z.int().positive().optional() });

/** Its answer, a line a round. */
export const verification = z.object({
  round: z.number(),
  /** SHA-256 of the global adapter in the journal, and of the one that came out now. */
  recorded: z.string(),
  again: z.string(),
  equal: z.boolean(),
});

/** POST /v1/runs/ID/fork: a new run that goes on after a kept round, with the old configuration where none is given. */
export const forkBody = z.strictObject({
  round: z.int().min(0),
  config: runConfig.optional(),
  key: z.string().min(1).max(128).optional(),
});

/** POST /v1/sites: a join token for a site. */
export const inviteBody = z.strictObject({
  name: z.string().regex(NAME),
  minutes: z
    .number()
    .positive()
    .max(60 * 24 * 30)
    .default(60),
});
export const invitation = z.object({ name: z.string(), token: z.string(), minutes: z.number() });

/** POST /v1/sites/NAME/withdraw, POST /v1/tokens/NAME/withdraw */
export const withdrawal = z.object({ name: z.string(), withdrawn: z.number() });

/** POST /v1/tokens: a bearer token for an operator or a viewer. */
export const tokenBody = z.strictObject({
  name: z.string().regex(NAME),
  role: z.enum(["operator", "viewer"]),
  days: z.number().positive().max(366).default(90),
});

/** GET /v1/sites */
export const site = z.object({
  name: z.string(),
  enrolledAtMs: z.number(),
  notAfterMs: z.number(),
  revokedAtMs: z.number().optional(),
});

/** GET /v1/audit */
export const auditEntry = z.object({ atMs: z.number(), who: z.string(), what: z.string() });

const numbers = z.record(z.string(), z.number());

export const clientFailure = z.object({
  client: z.string(),
  phase: z.string(),
  code: z.string(),
  message: z.string(),
});

/** One line of metrics.jsonl. */
export const roundRecord = z.object({
  round: z.number(),
  ok: z.number(),
  failed: z.number(),
  leftOut: z.number(),
  loss: z.number().optional(),
  metrics: numbers,
  clientMetrics: numbers,
  report: numbers,
  bytesDown: z.number(),
  bytesUp: z.number(),
  durationMs: z.number(),
  adapter: z.string(),
  clients: z.array(
    z.object({
      client: z.string(),
      examples: z.number(),
      steps: z.number(),
      /** Of an asynchronous run: rounds between the adapter it started from and the one it was added to. */
      staleness: z.number().optional(),
      loss: z.number().optional(),
      durationMs: z.number(),
      /** Its own, on its held-out examples. */
      evaluation: z.object({ examples: z.number(), metrics: numbers }).optional(),
    }),
  ),
  failures: z.array(clientFailure),
});

/** A client in a run's current round. */
export const memberStatus = z.object({
  client: z.string(),
  connected: z.boolean(),
  /** Of the round: "waiting", "received", "failed", "left out". */
  status: z.enum(["waiting", "received", "failed", "left out"]),
  /** What it does now: "offer", "fetch", "train", "evaluate", "push". */
  phase: z.string().optional(),
  done: z.number().optional(),
  total: z.number().optional(),
  /** Of the task under way, or of the update received. */
  metrics: numbers.optional(),
  /** Of this round's task, as far as they have moved. */
  bytesDown: z.number(),
  bytesUp: z.number(),
  failure: z.object({ phase: z.string(), code: z.string(), message: z.string() }).optional(),
});

/** GET /v1/runs/ID */
export const runStatus = z.object({
  id: z.string(),
  name: z.string(),
  /** "waiting" has no clients yet. */
  status: z.enum(["waiting", "running", "stopping", "stopped", "finished"]),
  phase: z.string(),
  round: z.number(),
  rounds: z.number(),
  seed: z.number(),
  createdAtMs: z.number(),
  endedAtMs: z.number().optional(),
  /** Why it stopped, or what it waits for. */
  reason: z.string().optional(),
  code: z.string().optional(),
  members: z.array(memberStatus),
  history: z.array(roundRecord),
  /** Where the coordinator keeps the run's files. */
  directory: z.string().optional(),
  /** SHA-256 of the newest global adapter. */
  adapter: z.string().optional(),
});

/** GET /v1/clients */
export const clientStatus = z.object({
  client: z.string(),
  connected: z.boolean(),
  /** Absent for a client that took part only before the coordinator kept such times. */
  lastSeenAtMs: z.number().optional(),
  trainer: z.string().optional(),
  device: z.string().optional(),
  baseModel: z.string().optional(),
  /** Keyed fingerprint of its training examples (docs/privacy.md). */
  dataFingerprint: z.string().optional(),
  examples: numbers,
});

/** One server-sent event of GET /v1/runs/ID/events: an event of the journal, or what a client does now. */
export const streamed = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("event"),
    seq: z.number(),
    atMs: z.number(),
    event: z.looseObject({ type: z.string() }),
  }),
  z.object({ kind: z.literal("status"), status: runStatus }),
]);

/** Every refusal. */
export const problem = z.object({ code: z.string(), message: z.string(), remedy: z.string() });

export type RunStatus = z.output<typeof runStatus>;
export type MemberStatus = z.output<typeof memberStatus>;
export type ClientStatus = z.output<typeof clientStatus>;
export type Streamed = z.output<typeof streamed>;
export type Problem = z.output<typeof problem>;
