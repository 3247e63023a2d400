/** A run and its clients as screens show them: in this process and, as the same JSON, over HTTP. */
import type { Coordinator } from "./coordinator.ts";
import type { Activity } from "./dispatch.ts";
import type { RunEngine } from "./engine.ts";
import type { ClientStatus, MemberStatus, RunStatus } from "./http/schema.ts";
import { clientOf, type Member, type Members } from "./round.ts";
import { todo } from "./run/todo.ts";
import { eligible } from "./work/choose.ts";

export function statusOf(coordinator: Coordinator, engine: RunEngine): RunStatus {
  const { run, row, rounds } = engine;
  const { id, config } = run;
  const reason = run.stopped?.reason ?? waitsFor(engine);
  const ended = run.stopped !== undefined || run.phase === "finished";
  const shown = run.next ?? run.round ?? run.previous;
  return {
    id,
    name: config.name,
    status: wordOf(engine),
    phase: run.phase,
    round: run.number,
    rounds: config.rounds,
    seed: config.seed,
    createdAtMs: row.createdAtMs,
    ...(ended && { endedAtMs: engine.times.lastAtMs }),
    ...(reason !== undefined && { reason }),
    ...(run.stopped?.code !== undefined && { code: run.stopped.code }),
    members: [...lastByClient(shown?.members)].map(([client, member]): MemberStatus => {
      const activity = coordinator.parts.dispatcher.activity(client);
      const busy = activity?.taskId.startsWith(`${id}/`) === true ? activity : undefined;
      return {
        client,
        connected: coordinator.parts.presence.session(client) !== undefined,
        status: member.status,
        ...(busy !== undefined && {
          phase: busy.phase,
          done: busy.done,
          total: busy.total,
          metrics: { ...busy.metrics },
        }),
        ...(member.status === "received" && { metrics: { ...member.update.metrics } }),
        ...movedBytes(engine, member, busy),
        ...(member.status === "failed" && { failure: { ...member.failure } }),
      };
    }),
    // as: the record is the same; zod's types are mutable where ours are not.
    history: rounds as RunStatus["history"],
    ...(engine.parts.directory !== undefined && { directory: engine.parts.directory }),
    ...(run.global !== undefined && { adapter: run.global.model.sha256 }),
  };
}

/** A client that comes twice, as in a buffer, is shown with what it is at now. */
function lastByClient(members: Members | undefined): ReadonlyMap<string, Member> {
  const shown = new Map<string, Member>();
  for (const [key, member] of members ?? []) {
    const client = clientOf(key);
    if (shown.get(client)?.status !== "waiting") shown.set(client, member);
  }
  return shown;
}

/** Bytes of this round's task, as far as they have moved. */
function movedBytes({ run }: RunEngine, member: Member, busy: Activity | undefined) {
  const wholeDown = run.global === undefined ? 0 : run.global.config.size + run.global.model.size;
  if (member.status === "received") {
    const { adapter, extras } = member.update;
    const sent = [adapter.config, adapter.model, ...Object.values(extras)];
    return { bytesDown: wholeDown, bytesUp: sent.reduce((sum, { size }) => sum + size, 0) };
  }
  const begun = busy !== undefined && busy.phase !== "offer";
  return {
    bytesDown: !begun ? 0 : busy.phase === "fetch" ? busy.done : wholeDown,
    bytesUp: busy?.phase === "push" ? busy.done : 0,
  };
}

export function clientsOf(coordinator: Coordinator): ClientStatus[] {
  const { presence } = coordinator.parts;
  return presence.known().map((client) => {
    const inventory = presence.inventory(client);
    const known = inventory && {
      trainer: inventory.trainer,
      device: inventory.device,
      baseModel: inventory.baseModel,
      ...(inventory.dataFingerprint !== "" && { dataFingerprint: inventory.dataFingerprint }),
    };
    const examples = Object.entries(inventory?.examples ?? {}).map(([kind, count]) => [kind, Number(count)]);
    const lastSeenAtMs = presence.lastSeenAtMs(client);
    return {
      client,
      connected: presence.session(client) !== undefined,
      ...(lastSeenAtMs !== undefined && { lastSeenAtMs }),
      ...known,
      examples: Object.fromEntries(examples),
    };
  });
}

function wordOf({ run }: RunEngine): RunStatus["status"] {
  if (run.phase === "finished") return "finished";
  if (run.stopped !== undefined) return "stopped";
  if (run.stopping) return "stopping";
  return run.phase === "choosing" ? "waiting" : "running";
}

/** A run that stands still says what for. */
function waitsFor(engine: RunEngine): string | undefined {
  const [work] = todo(engine.run);
  if (work?.kind !== "choose") return undefined;
  const there = eligible(engine).filter((client) => !work.keep.includes(client)).length;
  return there < work.least ? `waits for clients: ${there} of ${work.least} are there` : undefined;
}
