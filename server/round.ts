/**
 * The collecting of one round's updates: three pure functions. A command may be refused; an event is a fact; work
 * follows from state, so that a restart is not a special case.
 *
 * A round's members come to it in one of two ways. Here the cohort is fixed when the round opens; buffer.ts has the
 * rounds of asynchronous runs, which are filled by whoever arrives. Every member ends as received, failed or left out, and the round closes:
 *   complete  every member answered, and the quorum is there
 *   enough    as many updates as are wanted, the members chosen beyond them are left out
 *   grace     the quorum is there and the time to wait for the rest is over
 *   deadline  the quorum is there and the round's time is over
 * Without its quorum it fails, once every member answered or the time is over. Clients at work are never stopped
 * because the quorum is out of reach: a resumed round keeps what they finish.
 */
import { FedloomError, headline } from "../base/errors.ts";
import type { Failure, Start, UpdateRecord } from "./records.ts";

export interface CohortPolicy {
  /** Updates that are wanted; the cohort may be larger. */
  readonly wanted: number;
  readonly quorum: number;
  readonly graceMs?: number;
  readonly deadlineMs: number;
}

/** Of an asynchronous run. */
export interface BufferPolicy {
  /** Updates that close the round, K. */
  readonly buffer: number;
  /** Rounds that the global adapter may have moved on since an update's own start. */
  readonly maxStaleness: number;
  /** Of the run: no update is taken for a later one. */
  readonly rounds: number;
}

export type Member = {
  /** What this member was handed, where members start from different adapters. */
  readonly start?: Start;
} & (
  | { readonly status: "waiting" }
  | { readonly status: "received"; readonly update: UpdateRecord }
  /** `late`: SHA-256 of a result that came when the round no longer waited for this member. */
  | { readonly status: "failed"; readonly failure: Failure; readonly late?: string }
  /** The round closed without this member, or its update was too stale. */
  | { readonly status: "left out"; readonly late?: string }
);

/** A round's members by key: the client's id, in asynchronous runs with the draw, since a client may come twice. */
export type Members = ReadonlyMap<string, Member>;

export interface Round<Policy extends CohortPolicy | BufferPolicy = CohortPolicy | BufferPolicy> {
  readonly number: number;
  /** 0, and one more whenever a stopped run goes on in this round. */
  readonly attempt: number;
  readonly policy: Policy;
  /** SHA-256 of the adapter that was handed out; absent where each member has its own start. */
  readonly trainedFrom?: string;
  /** A cohort in byte order of client ids; a buffer's members in the order in which they answered. */
  readonly members: Members;
  readonly phase: "collecting" | "closed" | "failed";
}

export type RoundCommand =
  | {
      readonly type: "update";
      readonly client: string;
      readonly trainedFrom: string;
      readonly update: UpdateRecord;
    }
  | { readonly type: "fail"; readonly client: string; readonly failure: Failure }
  | { readonly type: "grace over" }
  | { readonly type: "deadline over" };

/** The draw, in events of asynchronous runs, tells a client's tasks apart. */
interface OfMember {
  readonly client: string;
  readonly draw?: number;
}

export type RoundEvent = { readonly round: number } & (
  | (OfMember & { readonly type: "update received"; readonly update: UpdateRecord })
  | (OfMember & { readonly type: "update late"; readonly sha256: string; readonly staleness?: number })
  | (OfMember & { readonly type: "client failed"; readonly failure: Failure })
  | { readonly type: "round closed"; readonly by: "complete" | "enough" | "grace" | "deadline" | "full" }
  | { readonly type: "round failed"; readonly code: string; readonly message: string }
);

export type RoundWork =
  | (OfMember & { readonly kind: "offer" })
  | { readonly kind: "wake"; readonly over: "grace" | "deadline"; readonly afterMs: number };

/** @throws FedloomError to refuse the command; returns [] when it is a repeat or comes too late to matter */
export function decideRound(round: Round<CohortPolicy>, command: RoundCommand): readonly RoundEvent[] {
  switch (command.type) {
    case "update": {
      const { client, update } = command;
      const received = { type: "update received", round: round.number, client, update } as const;
      return decideUpdate(round, command, () => withClosing(round, [received]));
    }
    case "fail": {
      const { client, failure } = command;
      if (memberOf(round, client).status !== "waiting" || round.phase !== "collecting") return [];
      return withClosing(round, [{ type: "client failed", round: round.number, client, failure }]);
    }
    case "grace over":
      if (round.phase !== "collecting" || count(round, "received") < round.policy.quorum) return [];
      return [{ type: "round closed", round: round.number, by: "grace" }];
    case "deadline over": {
      if (round.phase !== "collecting") return [];
      const failure = missed("the round's deadline", round.policy.deadlineMs);
      const late = clients(round, "waiting").map(
        (client) => ({ type: "client failed", round: round.number, client, failure }) as const,
      );
      return withClosing(round, late, "deadline");
    }
    default:
      throw command satisfies never;
  }
}

/** Repeats, contradictions and late ones are the same everywhere. @param accept what becomes of one that is waited for */
export function decideUpdate(
  round: Round,
  command: RoundCommand & { type: "update" },
  accept: (member: Member) => readonly RoundEvent[],
  draw?: number,
): readonly RoundEvent[] {
  const { client, update } = command;
  const member = memberOf(round, client, draw);
  const sha256 = update.adapter.model.sha256;
  const wanted = handedOut(round, member);
  if (command.trainedFrom !== wanted) {
    throw new FedloomError(
      "F4012",
      `Cannot use the update of client "${client}" in round ${round.number}: it must be trained from adapter ` +
        `${short(wanted)}, got one from ${short(command.trainedFrom)}`,
      { client, round: round.number, wanted, got: command.trainedFrom },
    );
  }
  if (member.status === "received") {
    if (member.update.adapter.model.sha256 === sha256) return [];
    throw new FedloomError(
      "F4013",
      `Cannot use the update ${short(sha256)} of client "${client}" in round ${round.number}: ` +
        `update ${short(member.update.adapter.model.sha256)} was accepted before`,
      { client, round: round.number },
    );
  }
  if (member.status === "waiting") return round.phase === "collecting" ? accept(member) : [];
  if (member.late !== undefined) return [];
  return [{ type: "update late", round: round.number, ...ofMember(client, draw), sha256 }];
}

/** @throws FedloomError F4001 for an event that cannot follow from this state */
export function applyRound<R extends Round>(round: R, event: RoundEvent): R {
  switch (event.type) {
    case "update received":
      return withMember(round, event, "waiting", { status: "received", update: event.update });
    case "client failed":
      return withMember(round, event, "waiting", { status: "failed", failure: event.failure });
    case "update late": {
      const member = round.members.get(keyOf(event.client, event.draw));
      if (event.staleness !== undefined) {
        return withMember(round, event, "waiting", { status: "left out", late: event.sha256 });
      }
      if (member?.status !== "left out" && member?.status !== "failed") {
        throw contradiction(`client "${event.client}" of round ${round.number} cannot be late`);
      }
      return withMember(round, event, member.status, { ...member, late: event.sha256 });
    }
    case "round closed":
    case "round failed": {
      if (round.phase !== "collecting") throw contradiction(`round ${round.number} ends twice`);
      const closed = event.type === "round closed";
      const members = [...round.members].map(([client, member]): [string, Member] =>
        closed && member.status === "waiting" ? [client, { status: "left out" }] : [client, member],
      );
      return { ...round, phase: closed ? "closed" : "failed", members: new Map(members) };
    }
    default:
      throw event satisfies never;
  }
}

export function todoRound(round: Round<CohortPolicy>): readonly RoundWork[] {
  if (round.phase !== "collecting") return [];
  const { quorum, graceMs, deadlineMs } = round.policy;
  // In one pass: every update of a round of thousands comes by here.
  const work: RoundWork[] = [];
  let received = 0;
  round.members.forEach(({ status }, key) => {
    if (status === "waiting") work.push({ kind: "offer", client: clientOf(key) });
    else if (status === "received") received++;
  });
  if (graceMs !== undefined && received >= quorum) {
    work.push({ kind: "wake", over: "grace", afterMs: graceMs });
  }
  work.push({ kind: "wake", over: "deadline", afterMs: deadlineMs });
  return work;
}

/**
 * The events, and the end of the round where they bring it.
 *
 * @param events each says what became of one member that was waited for
 */
function withClosing(
  round: Round<CohortPolicy>,
  events: readonly RoundEvent[],
  over?: "deadline",
): readonly RoundEvent[] {
  // Counted, not applied: every update of a round of thousands comes by here.
  const received = count(round, "received") + events.filter(({ type }) => type === "update received").length;
  const waiting = count(round, "waiting") - events.length;
  const { wanted, quorum } = round.policy;
  const end = { type: "round closed", round: round.number } as const;
  if (waiting > 0) return received >= wanted ? [...events, { ...end, by: "enough" }] : events;
  if (received >= quorum) return [...events, { ...end, by: over ?? "complete" }];
  const after = events.reduce(applyRound, round);
  const least = `at least ${quorum} ${quorum === 1 ? "update is" : "updates are"} wanted`;
  const why = topReason(after, `${least}, got ${received} of ${after.members.size}`);
  return [...events, { type: "round failed", round: round.number, ...why }];
}

/** What failed most clients, in words: a run that stops says why, not how often. Shared log lines stay with the failure. */
export function topReason(round: Round, wantedAndGot: string): { code: string; message: string } {
  const failures = [...round.members].flatMap(([key, member]) =>
    member.status === "failed" ? [{ client: clientOf(key), ...member.failure }] : [],
  );
  const tally = new Map<string, number>();
  for (const { code } of failures) tally.set(code, (tally.get(code) ?? 0) + 1);
  const most = Math.max(0, ...tally.values());
  const top = failures.find(({ code }) => tally.get(code) === most);
  const reason =
    top === undefined
      ? ""
      : `; client "${top.client}" failed in ${top.phase}: ${headline(top.message)} (${top.code})`;
  const others = most > 1 ? `, and ${most - 1} more for the same reason` : "";
  return {
    code: "F4008",
    message: `Cannot close round ${round.number}: ${wantedAndGot}${reason}${others}`,
  };
}

/** An update as it goes into a round's aggregation. */
export interface Contribution {
  readonly client: string;
  readonly draw?: number;
  readonly update: UpdateRecord;
  /** What it was trained from, where that may be older than what the round is about to change. */
  readonly start?: Start;
}

/** What came back, in the members' order. */
export function updatesOf(members: Members): readonly Contribution[] {
  return [...members].flatMap(([key, member]) => {
    if (member.status !== "received") return [];
    const { update, start } = member;
    const draw = drawOf(key);
    return [{ ...ofMember(clientOf(key), draw), update, ...(start !== undefined && { start }) }];
  });
}

/** A member's key. Clients' ids hold no "#". */
export function keyOf(client: string, draw?: number): string {
  return draw === undefined ? client : `${client}#${draw}`;
}

export function clientOf(key: string): string {
  const end = key.indexOf("#");
  return end < 0 ? key : key.slice(0, end);
}

export function drawOf(key: string): number | undefined {
  const end = key.indexOf("#");
  return end < 0 ? undefined : Number(key.slice(end + 1));
}

export function ofMember(client: string, draw: number | undefined): { client: string; draw?: number } {
  return draw === undefined ? { client } : { client, draw };
}

/** SHA-256 of the adapter that a member was handed. */
export function handedOut(round: Round, member: Member): string {
  return member.start?.global.model.sha256 ?? round.trainedFrom ?? "";
}

/** What becomes of a client that took too long. */
export function missed(limit: string, deadlineMs: number): Failure {
  return { phase: "deadline", code: "F4010", message: `no result within ${limit} of ${seconds(deadlineMs)}` };
}

/** Clients of this status, in the members' order. */
export function clients(round: Round, status: Member["status"]): string[] {
  const found: string[] = [];
  for (const [key, member] of round.members) if (member.status === status) found.push(clientOf(key));
  return found;
}

export function count(round: Round, status: Member["status"]): number {
  let found = 0;
  for (const member of round.members.values()) if (member.status === status) found++;
  return found;
}

export function memberOf(round: Round, client: string, draw?: number): Member {
  const member = round.members.get(keyOf(client, draw));
  if (member !== undefined) return member;
  throw new FedloomError(
    "F4011",
    `Cannot take anything for round ${round.number} from client "${client}": it is not in the round's cohort`,
    { client, round: round.number },
  );
}

function withMember<R extends Round>(
  round: R,
  { client, draw }: OfMember,
  was: Member["status"],
  member: Member,
): R {
  const key = keyOf(client, draw);
  const before = round.members.get(key);
  if (before?.status !== was) {
    throw contradiction(
      `client "${client}" of round ${round.number} is ${before?.status ?? "no member"}, not ${was}`,
    );
  }
  const members = new Map(round.members);
  if (draw !== undefined) members.delete(key); // set again, it stands behind those who answered before
  const { start } = before;
  return { ...round, members: members.set(key, start === undefined ? member : { ...member, start }) };
}

export function contradiction(what: string): FedloomError {
  return new FedloomError("F4001", `Cannot read the journal: ${what}`);
}

function short(sha256: string): string {
  return sha256.slice(0, 12);
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
