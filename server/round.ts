/**
 * The collecting of one round's updates: three pure functions. A command may be refused; an event is a fact; work
 * follows from state, so that a restart is not a special case.
 *
 * The cohort is fixed when the round opens. Every member ends as received, failed or left out, and the round closes:
 *   complete  every member answered, and the quorum is there
 *   enough    as many updates as are wanted, the members chosen beyond them are left out
 *   grace     the quorum is there and the time to wait for the rest is over
 *   deadline  the quorum is there and the round's time is over
 * Without its quorum it fails, once every member answered or the time is over. Clients at work are never stopped
 * because the quorum is out of reach: a resumed round keeps what they finish.
 */
import { FedloomError, headline } from "../base/errors.ts";
import type { Failure, UpdateRecord } from "./records.ts";

export interface RoundPolicy {
  /** Updates that are wanted; the cohort may be larger. */
  readonly wanted: number;
  readonly quorum: number;
  readonly graceMs?: number;
  readonly deadlineMs: number;
}

export type Member =
  | { readonly status: "waiting" }
  | { readonly status: "received"; readonly update: UpdateRecord }
  /** `late`: SHA-256 of a result that came when the round no longer waited for this member. */
  | { readonly status: "failed"; readonly failure: Failure; readonly late?: string }
  /** The round closed without this member. */
  | { readonly status: "left out"; readonly late?: string };

export interface Round {
  readonly number: number;
  /** 0, and one more whenever a stopped run goes on in this round. */
  readonly attempt: number;
  readonly policy: RoundPolicy;
  /** SHA-256 of the adapter that was handed out. */
  readonly trainedFrom: string;
  /** The cohort, in byte order of client ids. */
  readonly members: ReadonlyMap<string, Member>;
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

export type RoundEvent = { readonly round: number } & (
  | { readonly type: "update received"; readonly client: string; readonly update: UpdateRecord }
  | { readonly type: "update late"; readonly client: string; readonly sha256: string }
  | { readonly type: "client failed"; readonly client: string; readonly failure: Failure }
  | { readonly type: "round closed"; readonly by: "complete" | "enough" | "grace" | "deadline" }
  | { readonly type: "round failed"; readonly code: string; readonly message: string }
);

export type RoundWork =
  | { readonly kind: "offer"; readonly client: string }
  | { readonly kind: "wake"; readonly over: "grace" | "deadline"; readonly afterMs: number };

/** @throws FedloomError to refuse the command; returns [] when it is a repeat or comes too late to matter */
export function decideRound(round: Round, command: RoundCommand): readonly RoundEvent[] {
  switch (command.type) {
    case "update":
      return decideUpdate(round, command);
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
      const failure: Failure = {
        phase: "deadline",
        code: "F4010",
        message: `no result within the round's deadline of ${seconds(round.policy.deadlineMs)}`,
      };
      const late = clients(round, "waiting").map(
        (client) => ({ type: "client failed", round: round.number, client, failure }) as const,
      );
      return withClosing(round, late, "deadline");
    }
    default:
      throw command satisfies never;
  }
}

function decideUpdate(round: Round, command: RoundCommand & { type: "update" }): readonly RoundEvent[] {
  const { client, update } = command;
  const member = memberOf(round, client);
  const sha256 = update.adapter.model.sha256;
  if (command.trainedFrom !== round.trainedFrom) {
    throw new FedloomError(
      "F4012",
      `Cannot use the update of client "${client}" in round ${round.number}: it must be trained from adapter ` +
        `${short(round.trainedFrom)}, got one from ${short(command.trainedFrom)}`,
      { client, round: round.number, wanted: round.trainedFrom, got: command.trainedFrom },
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
  if (round.phase === "collecting" && member.status === "waiting") {
    return withClosing(round, [{ type: "update received", round: round.number, client, update }]);
  }
  return member.status !== "waiting" && member.late === undefined
    ? [{ type: "update late", round: round.number, client, sha256 }]
    : [];
}

/** @throws FedloomError F4001 for an event that cannot follow from this state */
export function applyRound(round: Round, event: RoundEvent): Round {
  switch (event.type) {
    case "update received":
      return withMember(round, event.client, "waiting", { status: "received", update: event.update });
    case "client failed":
      return withMember(round, event.client, "waiting", { status: "failed", failure: event.failure });
    case "update late": {
      const member = round.members.get(event.client);
      if (member?.status !== "left out" && member?.status !== "failed") {
        throw contradiction(`client "${event.client}" of round ${round.number} cannot be late`);
      }
      return withMember(round, event.client, member.status, { ...member, late: event.sha256 });
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

export function todoRound(round: Round): readonly RoundWork[] {
  if (round.phase !== "collecting") return [];
  const { quorum, graceMs, deadlineMs } = round.policy;
  const work: RoundWork[] = clients(round, "waiting").map((client) => ({ kind: "offer", client }));
  if (graceMs !== undefined && count(round, "received") >= quorum) {
    work.push({ kind: "wake", over: "grace", afterMs: graceMs });
  }
  work.push({ kind: "wake", over: "deadline", afterMs: deadlineMs });
  return work;
}

/** The events, and the end of the round where they bring it. */
function withClosing(round: Round, events: readonly RoundEvent[], over?: "deadline"): readonly RoundEvent[] {
  const after = events.reduce(applyRound, round);
  const received = count(after, "received");
  const waiting = count(after, "waiting");
  const { wanted, quorum } = round.policy;
  const end = { type: "round closed", round: round.number } as const;
  if (waiting > 0) return received >= wanted ? [...events, { ...end, by: "enough" }] : events;
  if (received >= quorum) return [...events, { ...end, by: over ?? "complete" }];
  return [...events, { type: "round failed", round: round.number, ...topReason(after, received) }];
}

/** What failed most clients, in words: a run that stops says why, not how often. Shared log lines stay with the failure. */
function topReason(round: Round, received: number): { code: string; message: string } {
  const failures = [...round.members].flatMap(([client, member]) =>
    member.status === "failed" ? [{ client, ...member.failure }] : [],
  );
  const tally = new Map<string, number>();
  for (const { code } of failures) tally.set(code, (tally.get(code) ?? 0) + 1);
  const most = Math.max(0, ...tally.values());
  const top = failures.find(({ code }) => tally.get(code) === most);
  const wanted = `at least ${round.policy.quorum} ${round.policy.quorum === 1 ? "update is" : "updates are"} wanted`;
  const reason =
    top === undefined
      ? ""
      : `; client "${top.client}" failed in ${top.phase}: ${headline(top.message)} (${top.code})`;
  const others = most > 1 ? `, and ${most - 1} more for the same reason` : "";
  return {
    code: "F4008",
    message: `Cannot close round ${round.number}: ${wanted}, got ${received} of ${round.members.size}${reason}${others}`,
  };
}

/** What came back, by client. */
export function updatesOf(members: ReadonlyMap<string, Member>): ReadonlyMap<string, UpdateRecord> {
  const received = [...members].flatMap(([client, member]) =>
    member.status === "received" ? [[client, member.update] as const] : [],
  );
  return new Map(received);
}

export function clients(round: Round, status: Member["status"]): string[] {
  return [...round.members].flatMap(([client, member]) => (member.status === status ? [client] : []));
}

function count(round: Round, status: Member["status"]): number {
  let found = 0;
  for (const member of round.members.values()) if (member.status === status) found++;
  return found;
}

function memberOf(round: Round, client: string): Member {
  const member = round.members.get(client);
  if (member !== undefined) return member;
  throw new FedloomError(
    "F4011",
    `Cannot take anything for round ${round.number} from client "${client}": it is not in the round's cohort`,
    { client, round: round.number },
  );
}

function withMember(round: Round, client: string, was: Member["status"], member: Member): Round {
  const before = round.members.get(client)?.status;
  if (before !== was) {
    throw contradiction(
      `client "${client}" of round ${round.number} is ${before ?? "no member"}, not ${was}`,
    );
  }
  return { ...round, members: new Map(round.members).set(client, member) };
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
