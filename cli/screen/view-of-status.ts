/** What a coordinator says of a run, in this process or over HTTP, as the screen shows it. */
import type { ClientStatus, MemberStatus, RunStatus } from "../../server/http/schema.ts";
import type { ClientView, FailureView, RoundView, RunView, ViewStatus } from "./view.ts";

export function viewOf(status: RunStatus, clients: readonly ClientStatus[], nowMs: number): RunView {
  const { id, name, round, rounds, members, history, reason } = status;
  const begun = members.length > 0;
  return {
    id,
    name,
    status: wordOf(status),
    phase: status.phase,
    round: begun ? Math.min(round, rounds) : 0,
    rounds,
    ...(reason === undefined ? {} : { reason }),
    elapsedMs: Math.max(0, (status.endedAtMs ?? nowMs) - status.createdAtMs),
    clients: clientViews(members, clients),
    history: history.map(roundView),
    failures: failuresOf(status),
  };
}

/** "waiting" between two rounds is over in a moment; only before the first it is a state of its own. */
function wordOf({ status, code, members }: RunStatus): ViewStatus {
  switch (status) {
    case "stopped":
      return code === undefined ? "stopped" : "failed";
    case "waiting":
      return members.length > 0 ? "running" : "waiting";
    case "stopping":
      return "running";
    default:
      return status;
  }
}

function clientViews(members: readonly MemberStatus[], clients: readonly ClientStatus[]): ClientView[] {
  const memberOf = new Map(members.map((member) => [member.client, member]));
  const known = new Map(clients.map((client) => [client.client, client]));
  return [...new Set([...known.keys(), ...memberOf.keys()])].sort().map((id) => {
    const member = memberOf.get(id);
    const loss = member?.metrics?.loss;
    return {
      id,
      holds: holdingsOf(known.get(id)),
      doing: doingOf(member, known.get(id)?.connected ?? member?.connected ?? false),
      done: member?.done ?? 0,
      total: member?.total ?? 0,
      ...(loss === undefined ? {} : { loss }),
      downBytes: member?.bytesDown ?? 0,
      upBytes: member?.bytesUp ?? 0,
    };
  });
}

function doingOf(member: MemberStatus | undefined, here: boolean): string {
  if (member?.status === "received") return member.phase === "evaluate" ? member.phase : "done";
  if (member?.status === "failed") return "failed";
  if (!here) return "away";
  return member?.phase ?? "ready";
}

/** "48 image, 96 image+text". */
function holdingsOf(client: ClientStatus | undefined): string {
  return Object.entries(client?.examples ?? {})
    .map(([modalities, count]) => `${count} ${modalities}`)
    .sort()
    .join(", ");
}

function roundView(record: RunStatus["history"][number]): RoundView {
  const { round, ok, failed, loss, metrics, clientMetrics, bytesDown, bytesUp, durationMs } = record;
  return {
    round,
    ok,
    failed,
    ...(loss === undefined ? {} : { loss }),
    // The coordinator's own held-out set where it has one, else the mean over the clients'.
    metrics: Object.keys(metrics).length > 0 ? metrics : clientMetrics,
    downBytes: bytesDown,
    upBytes: bytesUp,
    durationMs,
  };
}

/** Of the finished rounds, then of the one under way: a round's failures keep their place when it is published. */
function failuresOf({ history, members, round, phase }: RunStatus): FailureView[] {
  const past = history.flatMap((record) =>
    record.failures.map((failure) => ({ round: record.round, ...failure })),
  );
  // While the next round is chosen, the members are those of the last one, whose failures are in its record.
  if (phase === "choosing" || history.length >= round) return past;
  const now = members.flatMap(({ client, failure }) =>
    failure === undefined ? [] : [{ client, round, ...failure }],
  );
  return [...past, ...now];
}
