/** A run of a coordinator in this process, as the screen shows it. */
import type { Inventory } from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import type { Coordinator } from "../../server/coordinator.ts";
import type { RoundRecord } from "../../server/history.ts";
import type { Member } from "../../server/round.ts";
import type { Run } from "../../server/run/state.ts";
import type { ClientView, FailureView, RoundView, RunStatus, RunView } from "../screen/view.ts";

export function runViewOf(coordinator: Coordinator, id: string): RunView {
  const { row, run, rounds, times } = coordinator.engine(id);
  const status = statusOf(run);
  const ended = status === "finished" || status === "failed" || status === "stopped";
  const untilMs = ended ? times.lastAtMs : coordinator.parts.clock.now();
  const clients = clientsOf(coordinator, run);
  const reason = run.stopped?.reason ?? waitingFor(run, clients);
  return {
    id,
    name: row.config.name,
    status,
    round: begun(run) ? Math.min(run.number, row.config.rounds) : 0,
    rounds: row.config.rounds,
    ...(reason === undefined ? {} : { reason }),
    elapsedMs: untilMs - row.createdAtMs,
    clients,
    history: rounds.map(roundView),
    failures: [...rounds.flatMap(failuresOf), ...openFailures(run)],
  };
}

export function statusOf(run: Run): RunStatus {
  if (run.phase === "finished") return "finished";
  if (run.stopped !== undefined) return run.stopped.code === undefined ? "stopped" : "failed";
  return begun(run) ? "running" : "waiting";
}

function begun({ round, previous }: Run): boolean {
  return round !== undefined || previous !== undefined;
}

function waitingFor(run: Run, clients: readonly ClientView[]): string | undefined {
  if (run.phase === "preparing") return "opening the model";
  if (run.phase !== "choosing" || begun(run)) return undefined;
  const { perRound, minClients = perRound } = run.config.cohort;
  return `waiting for ${minClients} clients, ${clients.filter(({ doing }) => doing !== "away").length} here`;
}

function clientsOf({ parts: { presence, dispatcher } }: Coordinator, run: Run): ClientView[] {
  const ids = new Set([...presence.known(), ...(run.round?.members.keys() ?? [])]);
  const { clients: invited } = run.config;
  const handedOutBytes = (run.global?.model.size ?? 0) + (run.global?.config.size ?? 0);
  return [...ids]
    .filter((id) => invited === undefined || invited.includes(id))
    .sort()
    .map((id) => {
      const member = run.round?.members.get(id);
      const activity = dispatcher.activity(id);
      const doing = doingOf(member, activity?.phase, presence.session(id) !== undefined);
      const { done = 0, total = 0, metrics } = activity ?? {};
      const update = member?.status === "received" ? member.update : undefined;
      const loss = update?.metrics.loss ?? metrics?.loss;
      const taking = member !== undefined && doing !== "ready" && doing !== "offer";
      return {
        id,
        holds: holdingsOf(presence.inventory(id)),
        doing,
        done,
        total,
        ...(loss === undefined ? {} : { loss }),
        downBytes: !taking ? 0 : doing === "fetch" ? done : handedOutBytes,
        upBytes:
          update === undefined
            ? doing === "push"
              ? done
              : 0
            : update.adapter.model.size + update.adapter.config.size,
      };
    });
}

function doingOf(member: Member | undefined, phase: string | undefined, here: boolean): string {
  if (member?.status === "received") return phase === "evaluate" ? phase : "done";
  if (member?.status === "failed") return "failed";
  if (!here) return "away";
  return phase ?? "ready";
}

/** "48 image, 96 image+text". */
function holdingsOf(inventory: Inventory | undefined): string {
  return Object.entries(inventory?.examples ?? {})
    .map(([modalities, count]) => `${count} ${modalities}`)
    .sort()
    .join(", ");
}

function roundView({ round, ok, failed, loss, metrics, clientMetrics, ...record }: RoundRecord): RoundView {
  return {
    round,
    ok,
    failed,
    ...(loss === undefined ? {} : { loss }),
    metrics: Object.keys(metrics).length > 0 ? metrics : clientMetrics,
    downBytes: record.bytesDown,
    upBytes: record.bytesUp,
    durationMs: record.durationMs,
  };
}

function failuresOf({ round, failures }: RoundRecord): FailureView[] {
  return failures.map((failure) => ({ round, ...failure }));
}

/** Failures of the round that is under way; a published round's are in its record. */
function openFailures({ round }: Run): FailureView[] {
  return [...(round?.members ?? [])].flatMap(([client, member]) =>
    member.status === "failed" ? [{ client, round: round!.number, ...member.failure }] : [],
  );
}
