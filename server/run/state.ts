/**
 * A run: rounds one after another, each chosen, collected (round.ts), aggregated, evaluated and published, until
 * the last one. Three pure functions over the journal's events, as in round.ts; no clock, no chance, no I/O.
 *
 *   preparing -> choosing -> collecting -> aggregating -> evaluating -> publishing -> choosing ... -> finishing -> finished
 *
 * In an asynchronous run clients are drawn, train and answer beside these phases, from the first choice to the last
 * round's close: a round is a buffer that they fill (buffer.ts), and while one is aggregated the next one fills.
 *
 * `stopped` lies across the phases: a stopped run has no work, and a resumed one goes on in the phase where it was.
 * Results that come twice, as after a crash between an event and its work's end, have no effect the second time.
 */
import { isAsync, LESS_IS_BETTER, type RunConfig } from "../../config/run.ts";
import { type Buffer, isBuffer } from "../buffer.ts";
import type { AdapterRef, BlobRef, Failure, Outcome, Start } from "../records.ts";
import {
  clients,
  keyOf,
  type Member,
  type Members,
  type Round,
  type RoundCommand,
  type RoundEvent,
  type RoundWork,
} from "../round.ts";

export type Phase =
  | "preparing"
  | "choosing"
  | "collecting"
  | "aggregating"
  | "evaluating"
  | "publishing"
  | "finishing"
  | "finished";

/** Whose evaluation is wanted: the coordinator's own, and that of clients. */
export interface Evaluation {
  readonly own: Readonly<Record<string, number>> | "wanted" | "none";
  readonly clients: ReadonlyMap<string, EvaluationReply | "waiting" | "failed">;
}

export interface EvaluationReply {
  readonly examples: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** What remains of a round when the next one has begun. The first entry is the adapter that the run began with. */
export interface Kept {
  readonly round: number;
  readonly global: AdapterRef;
  readonly state: BlobRef;
  readonly baseDelta?: AdapterRef;
  /** Clients that the round could draw from. */
  readonly totalClients: number;
  /** The cohort's updates, as long as the round can be aggregated again. */
  readonly updates?: Members;
  /** Of the metric that `keep.best` names, where the round was evaluated. */
  readonly score?: number;
}

/** The kept round with the best score, of equal ones the first. */
export function bestOf({ kept, config }: Pick<Run, "kept" | "config">): Kept | undefined {
  const sign = LESS_IS_BETTER.has(config.keep.best ?? "") ? -1 : 1;
  return kept.reduce<Kept | undefined>((best, entry) => {
    if (entry.score === undefined) return best;
    return best?.score === undefined || sign * (entry.score - best.score) > 0 ? entry : best;
  }, undefined);
}

export interface Run {
  readonly id: string;
  readonly config: RunConfig;
  readonly phase: Phase;
  readonly stopping: boolean;
  readonly stopped: { readonly code?: string; readonly reason: string } | undefined;
  /** The current round, from 1. */
  readonly number: number;
  readonly attempt: number;
  readonly base: string;
  readonly global: AdapterRef | undefined;
  readonly state: BlobRef | undefined;
  /** What is added to the frozen base, all rounds so far together. */
  readonly baseDelta: AdapterRef | undefined;
  /** Clients that the run draws from, as of the last choice. */
  readonly population: ReadonlySet<string>;
  readonly round: Round | undefined;
  /** Of an asynchronous run: the buffer that fills while `round` is aggregated. */
  readonly next: Buffer | undefined;
  /** Of an asynchronous run: tasks begun so far. */
  readonly draws: number;
  /** The round before, for results that come late. */
  readonly previous: Round | undefined;
  readonly outcome: Outcome | undefined;
  readonly evaluation: Evaluation | undefined;
  readonly kept: readonly Kept[];
}

export interface Prepared {
  readonly type: "prepared";
  readonly base: string;
  readonly global: AdapterRef;
  readonly state: BlobRef;
  readonly baseDelta?: AdapterRef;
  /** Rounds that are done: more than 0 in a run that was forked from another one's round. */
  readonly after?: number;
}

export type RunCommand =
  | Prepared
  | {
      readonly type: "choose";
      readonly round: number;
      readonly attempt: number;
      /** Of an asynchronous run: the number that the first one chosen gets. */
      readonly draw?: number;
      /** All clients present that the run may draw from, and those drawn now. */
      readonly population: readonly string[];
      readonly chosen: readonly string[];
    }
  | {
      readonly type: "round";
      /** As in the names of tasks: the round, in an asynchronous run the draw. */
      readonly round: number;
      readonly attempt?: number;
      readonly command: RoundCommand;
    }
  | { readonly type: "aggregated"; readonly round: number; readonly outcome: Outcome }
  | {
      readonly type: "evaluated";
      readonly round: number;
      readonly metrics: Readonly<Record<string, number>>;
      /** Fingerprint of the held-out examples. */
      readonly dataFingerprint?: string;
    }
  | {
      readonly type: "client evaluated";
      readonly round: number;
      readonly client: string;
      readonly reply: EvaluationReply | Failure;
    }
  | { readonly type: "evaluation over"; readonly round: number }
  | { readonly type: "published"; readonly round: number }
  | { readonly type: "finished" }
  | { readonly type: "work failed"; readonly code: string; readonly message: string }
  | { readonly type: "stop"; readonly now: boolean }
  | { readonly type: "resume" };

export type RunEvent =
  | Prepared
  | { readonly type: "population"; readonly joined: readonly string[]; readonly left: readonly string[] }
  | {
      readonly type: "round opened";
      readonly round: number;
      readonly attempt: number;
      readonly cohort: readonly string[];
    }
  /** Of an asynchronous run: clients that begin now, from the newest global adapter, with draws from `first` on. */
  | {
      readonly type: "clients drawn";
      /** The buffer that is open. */
      readonly round: number;
      readonly version: number;
      readonly first: number;
      readonly clients: readonly string[];
    }
  | RoundEvent
  | { readonly type: "aggregated"; readonly outcome: Outcome }
  | {
      readonly type: "evaluated";
      readonly metrics: Readonly<Record<string, number>>;
      readonly dataFingerprint?: string;
    }
  | { readonly type: "client evaluated"; readonly client: string; readonly reply: EvaluationReply }
  | { readonly type: "client evaluation failed"; readonly client: string; readonly failure: Failure }
  | { readonly type: "evaluation over" }
  | { readonly type: "published" }
  | { readonly type: "stop requested" }
  | { readonly type: "stopped"; readonly code?: string; readonly reason: string }
  | { readonly type: "resumed" }
  | { readonly type: "finished" };

export type RunWork =
  | { readonly kind: "prepare" }
  /** Draw `count` clients beyond `keep`; begin when `least` eligible ones are there. */
  | {
      readonly kind: "choose";
      readonly round: number;
      readonly attempt: number;
      readonly keep: readonly string[];
      readonly draw?: number;
      readonly count: number;
      readonly least: number;
      /** A run under way does not wait for its clients for ever. */
      readonly withinMs: number | undefined;
    }
  | RoundWork
  | { readonly kind: "aggregate" }
  | { readonly kind: "evaluate" }
  | { readonly kind: "offer evaluation"; readonly client: string }
  | { readonly kind: "wake evaluation"; readonly afterMs: number }
  | { readonly kind: "publish" }
  | { readonly kind: "finish" };

export function newRun(id: string, config: RunConfig): Run {
  return {
    id,
    config,
    phase: "preparing",
    stopping: false,
    stopped: undefined,
    number: 1,
    attempt: 0,
    base: "",
    global: undefined,
    state: undefined,
    baseDelta: undefined,
    population: new Set(),
    round: undefined,
    next: undefined,
    draws: 0,
    previous: undefined,
    outcome: undefined,
    evaluation: undefined,
    kept: [],
  };
}

/** Members that a resumed round keeps: who answered and who may still. */
export function remaining(round: Round): string[] {
  return [...clients(round, "received"), ...clients(round, "waiting")];
}

/** What a client is handed that begins now: of an asynchronous run also while the round's result is evaluated. */
export function newest({ outcome, number, global, state, baseDelta }: Run): Start {
  const from = outcome ?? { global: global!, state: state! };
  const side = outcome?.baseDelta ?? baseDelta;
  const version = outcome === undefined ? number - 1 : number;
  return { version, global: from.global, state: from.state, ...(side !== undefined && { baseDelta: side }) };
}

/** The buffer that updates go into now. */
export function openBuffer({ next, round, phase }: Run): Buffer | undefined {
  if (next !== undefined) return next;
  return phase === "collecting" && isBuffer(round) ? round : undefined;
}

/** A client's task where it is known: its round, its member there, and what it was handed. */
export interface Assignment {
  readonly round: Round;
  readonly member: Member;
  readonly start: Start;
}

/** @param number as in the task's name: the round, in an asynchronous run the draw */
export function assignmentOf(run: Run, client: string, number: number): Assignment | undefined {
  const round = roundOf(run, client, number);
  const member = round?.members.get(isAsync(run.config) ? keyOf(client, number) : client);
  if (round === undefined || member === undefined) return undefined;
  return { round, member, start: member.start ?? newest(run) };
}

/** The round that a task's number means. @param client undefined for what concerns the round as a whole */
export function roundOf(run: Run, client: string | undefined, number: number): Round | undefined {
  const known = [run.next, run.round, run.previous].filter((round) => round !== undefined);
  if (!isAsync(run.config)) return known.find((round) => round.number === number);
  return client === undefined ? undefined : known.find(({ members }) => members.has(keyOf(client, number)));
}
