/** What remains of rounds for people and for metrics.jsonl: one record a round, made from the journal alone. */
import type { StoredEvent } from "./journal/store.ts";
import type { UpdateRecord } from "./records.ts";
import { clientOf, updatesOf } from "./round.ts";
import type { Evaluation, EvaluationReply, Run } from "./run/state.ts";

/** Most failures and clients that a record lists; a round of thousands keeps a readable line. */
const MAX_LISTED = 100;

export interface RoundRecord {
  readonly round: number;
  /** Updates that were aggregated, tasks that failed, and those that the round did not wait for or that were too stale. */
  readonly ok: number;
  readonly failed: number;
  readonly leftOut: number;
  /** Mean training loss of the clients, weighted by labelled tokens (by examples where they count no tokens). */
  readonly loss?: number;
  /** The coordinator's own evaluation. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Means over the clients' evaluations, weighted by examples. */
  readonly clientMetrics: Readonly<Record<string, number>>;
  readonly report: Readonly<Record<string, number>>;
  readonly bytesDown: number;
  readonly bytesUp: number;
  readonly durationMs: number;
  /** SHA-256 of the new global adapter. */
  readonly adapter: string;
  readonly clients: readonly {
    readonly client: string;
    readonly examples: number;
    readonly steps: number;
    /** Of an asynchronous run: rounds that the global adapter had moved on since the update's own start. */
    readonly staleness?: number;
    readonly loss?: number;
    readonly durationMs: number;
    /** What the client made of its own held-out examples with the new adapter and what of it does not travel. */
    readonly evaluation?: EvaluationReply;
  }[];
  readonly failures: readonly {
    readonly client: string;
    readonly phase: string;
    readonly code: string;
    readonly message: string;
  }[];
}

/** When things happened, by the events' own clock: the same numbers after a restart. */
export interface Times {
  readonly openedAtMs: number;
  readonly lastAtMs: number;
}

export function timesAfter(times: Times, { event, atMs }: StoredEvent): Times {
  // A buffer fills from the end of the one before, the first one from the first draw.
  const opens = event.type === "clients drawn" ? event.first === 1 : OPENING.has(event.type);
  return opens ? { openedAtMs: atMs, lastAtMs: atMs } : { ...times, lastAtMs: atMs };
}

const OPENING: ReadonlySet<string> = new Set(["round opened", "published"]);

/** The record of a round that is about to be published. */
export function recordOf(run: Run, times: Times): RoundRecord {
  const { round, outcome, evaluation } = run;
  if (round === undefined || outcome === undefined)
    throw new TypeError("Only an aggregated round has a record");
  const members = [...round.members];
  const received = updatesOf(round.members);
  const failures = members.flatMap(([key, member]) =>
    member.status === "failed" ? [{ client: clientOf(key), ...member.failure }] : [],
  );
  const loss = weightedMean(
    received.map(({ update }) => [update.tokens || update.examples, update.metrics.loss] as const),
  );
  const replies = [...(evaluation?.clients.values() ?? [])].filter((reply) => typeof reply === "object");
  const names = new Set(replies.flatMap(({ metrics }) => Object.keys(metrics)));
  const clientMetrics = [...names].sort().flatMap((name) => {
    const mean = weightedMean(replies.map(({ examples, metrics }) => [examples, metrics[name]] as const));
    return mean === undefined ? [] : [[name, mean] as const];
  });
  const own = evaluation?.own;
  return {
    round: round.number,
    ok: received.length,
    failed: failures.length,
    leftOut: members.length - received.length - failures.length,
    ...(loss !== undefined && { loss }),
    metrics: typeof own === "object" ? own : {},
    clientMetrics: Object.fromEntries(clientMetrics),
    report: outcome.report,
    bytesDown: (run.global!.model.size + run.global!.config.size) * members.length,
    bytesUp: received.reduce((sum, { update }) => sum + bytesOf(update), 0),
    durationMs: times.lastAtMs - times.openedAtMs,
    adapter: outcome.global.model.sha256,
    clients: received
      .slice(0, MAX_LISTED)
      .map(({ client, start, update: { examples, steps, metrics, durationMs } }) => ({
        client,
        examples,
        steps,
        ...(start !== undefined && { staleness: round.number - 1 - start.version }),
        ...(metrics.loss !== undefined && { loss: metrics.loss }),
        durationMs,
        ...evaluationBy(client, evaluation),
      })),
    failures: failures.slice(0, MAX_LISTED),
  };
}

function evaluationBy(client: string, evaluation: Evaluation | undefined): { evaluation?: EvaluationReply } {
  const reply = evaluation?.clients.get(client);
  return typeof reply === "object" ? { evaluation: reply } : {};
}

function bytesOf({ adapter, extras }: UpdateRecord): number {
  return [adapter.config, adapter.model, ...Object.values(extras)].reduce((sum, { size }) => sum + size, 0);
}

function weightedMean(pairs: readonly (readonly [number, number | undefined])[]): number | undefined {
  const known = pairs.filter((pair): pair is [number, number] => pair[1] !== undefined && pair[0] > 0);
  const weight = known.reduce((sum, [w]) => sum + w, 0);
  return weight === 0 ? undefined : known.reduce((sum, [w, value]) => sum + w * value, 0) / weight;
}
