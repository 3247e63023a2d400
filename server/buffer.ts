/**
 * Rounds of asynchronous runs: a buffer that K updates fill, whoever they come from and whatever global adapter each
 * started from (FedBuff). The clients at work are members too, waiting ones; those whose update comes after the
 * buffer is full are members of the next one, which fills while this one is aggregated.
 *
 *   staleness of an update = rounds in the global adapter that it is added to − rounds in the one it started from
 *
 * An update that arrives at a full buffer is counted into the one after it: which buffer it lies in, and so how
 * stale it is, follows from the order of arrival alone.
 *
 * Source: Nguyen et al. 2022, Algorithm 1, https://arxiv.org/abs/2106.06581
 */
import type { Start } from "./records.ts";
import {
  type BufferPolicy,
  clientOf,
  clients,
  count,
  decideUpdate,
  drawOf,
  keyOf,
  type Member,
  memberOf,
  ofMember,
  type Round,
  type RoundCommand,
  type RoundEvent,
  type RoundWork,
  topReason,
} from "./round.ts";

export type Buffer = Round<BufferPolicy>;

export function isBuffer(round: Round | undefined): round is Buffer {
  return round !== undefined && "buffer" in round.policy;
}

export function emptyBuffer(number: number, policy: BufferPolicy): Buffer {
  return { number, attempt: 0, policy, members: new Map(), phase: "collecting" };
}

/** @throws FedloomError to refuse the command; returns [] when it is a repeat or comes too late to matter */
export function decideBuffer(buffer: Buffer, command: RoundCommand, draw: number): readonly RoundEvent[] {
  const { number: round } = buffer;
  switch (command.type) {
    case "update": {
      const { client, update } = command;
      return decideUpdate(
        buffer,
        command,
        ({ start }) => {
          const { late, staleness } = seatOf(buffer, start!);
          const { sha256 } = update.adapter.model;
          return late
            ? [{ type: "update late", round, client, draw, sha256, staleness }]
            : [{ type: "update received", round, client, draw, update }];
        },
        draw,
      );
    }
    case "fail": {
      const { client, failure } = command;
      if (memberOf(buffer, client, draw).status !== "waiting") return [];
      return [{ type: "client failed", round, client, draw, failure }];
    }
    case "grace over":
    case "deadline over":
      return []; // each task has its own deadline
    default:
      throw command satisfies never;
  }
}

/** How stale an update is that arrives now, and whether it is of no use. */
function seatOf(buffer: Buffer, start: Start): { readonly late: boolean; readonly staleness: number } {
  const { buffer: size, maxStaleness, rounds } = buffer.policy;
  const round = buffer.number + Math.floor(count(buffer, "received") / size);
  const staleness = round - 1 - start.version;
  return { late: round > rounds || staleness > maxStaleness, staleness };
}

/** Whether any update is wanted still: with the run's last buffer filled, training on would be for nothing. */
export function hasSeats(buffer: Buffer): boolean {
  const { buffer: size, rounds } = buffer.policy;
  return buffer.number + Math.floor(count(buffer, "received") / size) <= rounds;
}

/** What ends a buffer that may end, now that nothing is being aggregated: it is full, or nobody is left to fill it. */
export function endOf(buffer: Buffer, population: ReadonlySet<string>): readonly RoundEvent[] {
  const { number: round, policy } = buffer;
  const received = count(buffer, "received");
  if (received >= policy.buffer) return [{ type: "round closed", round, by: "full" }];
  const failing = new Set(failingClients(buffer));
  const hopeless = population.size > 0 && [...population].every((client) => failing.has(client));
  if (count(buffer, "waiting") > 0 || !hopeless) return [];
  const wanted = `${policy.buffer} ${policy.buffer === 1 ? "update is" : "updates are"} wanted`;
  return [{ type: "round failed", round, ...topReason(buffer, `${wanted}, got ${received}`) }];
}

/**
 * Clients that failed since an update came last. They are not drawn again before the next one comes: a client that
 * cannot train would be drawn for ever otherwise, and where nobody can, the run stops.
 */
export function failingClients({ members }: Buffer): string[] {
  const answered = [...members].filter(([, { status }]) => status !== "waiting");
  const last = answered.findLastIndex(([, { status }]) => status === "received");
  return answered
    .slice(last + 1)
    .flatMap(([key, { status }]) => (status === "failed" ? [clientOf(key)] : []));
}

/** With clients that begin now. @param first the first one's draw */
export function withDrawn(buffer: Buffer, drawn: readonly string[], first: number, start: Start): Buffer {
  const waiting = drawn.map((client, i) => [keyOf(client, first + i), { status: "waiting", start }] as const);
  return { ...buffer, members: new Map<string, Member>([...buffer.members, ...waiting]) };
}

/** The buffer with the first K updates, and the next one with whoever is at work and the updates beyond. */
export function closeBuffer(buffer: Buffer): { readonly closed: Buffer; readonly next: Buffer | undefined } {
  const { number, policy } = buffer;
  const stay = new Map<string, Member>();
  const go = new Map<string, Member>();
  let seats = policy.buffer;
  for (const [key, member] of buffer.members) {
    const stays = member.status === "received" ? seats-- > 0 : member.status !== "waiting";
    (stays ? stay : go).set(key, member);
  }
  if (number < policy.rounds) {
    const closed: Buffer = { ...buffer, phase: "closed", members: stay };
    return { closed, next: { ...emptyBuffer(number + 1, policy), members: go } };
  }
  // The run's last: it ends with this step, as many as it was to make, and what is under way is not waited for.
  for (const [key, { start }] of go) stay.set(key, { status: "left out", ...(start && { start }) });
  return { closed: { ...buffer, phase: "closed", members: stay }, next: undefined };
}

/** A buffer that goes on after a stop: what came stays, who was at work is offered its task again, failures are forgotten. */
export function resumed(buffer: Buffer, attempt: number): Buffer {
  const kept = [...buffer.members].filter(([, { status }]) => status === "received" || status === "waiting");
  return { ...buffer, attempt, phase: "collecting", members: new Map(kept) };
}

export function todoBuffer(buffer: Buffer): readonly RoundWork[] {
  return [...buffer.members].flatMap(([key, { status }]): RoundWork[] =>
    status === "waiting" ? [{ kind: "offer", ...ofMember(clientOf(key), drawOf(key)) }] : [],
  );
}

/** Clients that are not to be drawn: at work, or failing. */
export function busyClients(buffer: Buffer): string[] {
  return [...new Set([...clients(buffer, "waiting"), ...failingClients(buffer)])].sort();
}
