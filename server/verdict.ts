/** What becomes of a result that a client offers. */
import { FedloomError } from "../base/errors.ts";
import { type SubmitResultRequest, Verdict } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { admit } from "./admission.ts";
import type { FleetHost } from "./fleet-host.ts";
import { MAX_ENTRIES } from "./limits.ts";
import { broken, hashOf, refOf } from "./peer-refusals.ts";
import type { BlobRef, Start, UpdateRecord } from "./records.ts";
import { handedOut } from "./round.ts";
import { assignmentOf } from "./run/state.ts";
import { parseTaskId, type TaskName } from "./task-id.ts";
import type { Place } from "./work/place.ts";
import { instructionsFor } from "./work/task.ts";

/** @throws FedloomError where the result is refused: F4011 for a task that is not open, others for what is wrong with it */
export async function judge(host: FleetHost, client: string, request: SubmitResultRequest): Promise<Verdict> {
  const name = parseTaskId(request.taskId);
  if (name?.client !== client) {
    throw new FedloomError(
      "F5008",
      `Cannot take a result of client "${client}" for task "${request.taskId.slice(0, 200)}": the task is not the client's`,
      { client },
    );
  }
  if (name.run !== request.runId || name.round !== request.round) {
    throw broken(
      `client "${client}"`,
      `task "${request.taskId}" is not of run "${request.runId.slice(0, 64)}", round ${request.round}`,
    );
  }
  const engine = host.engine(name.run);
  return name.kind === "evaluate"
    ? judgeEvaluation(engine, name, request)
    : judgeUpdate(engine, name, request);
}

async function judgeUpdate(
  engine: Place,
  { client, round }: TaskName,
  request: SubmitResultRequest,
): Promise<Verdict> {
  const update = updateOf(client, request);
  const known = assignmentOf(engine.run, client, round);
  const waits = known?.round.phase === "collecting" && known.member.status === "waiting";
  if (waits && request.trainedFrom === handedOut(known.round, known.member)) {
    await check(engine, client, update, known.start);
  }
  const events = await engine.submit({
    type: "round",
    round,
    command: { type: "update", client, trainedFrom: request.trainedFrom, update },
  });
  if (events.some(({ type }) => type === "update received")) return Verdict.ACCEPTED;
  const received = assignmentOf(engine.run, client, round)?.member.status === "received";
  return received ? Verdict.REPEATED : Verdict.LATE;
}

async function check(engine: Place, client: string, update: UpdateRecord, start: Start): Promise<void> {
  const { blobs } = engine.parts;
  const refs: BlobRef[] = [update.adapter.config, update.adapter.model, ...Object.values(update.extras)];
  for (const { sha256, size } of refs) {
    if ((await blobs.size(sha256)) === size) continue;
    throw new FedloomError(
      "F5011",
      `Cannot take the result of client "${client}": its blob ${sha256} was not uploaded, or not with ${size} bytes`,
      { client, sha256 },
    );
  }
  const materials = await engine.materials(start);
  const instructions = instructionsFor(start, materials, client);
  await admit(blobs, client, update, { ...materials, instructions });
}

async function judgeEvaluation(
  engine: Place,
  { client, round }: TaskName,
  request: SubmitResultRequest,
): Promise<Verdict> {
  const reply = {
    examples: wholeOf(client, "examples", request.examples),
    metrics: numbersOf(client, request.metrics),
  };
  const events = await engine.submit({ type: "client evaluated", round, client, reply });
  if (events.length > 0) return Verdict.ACCEPTED;
  const known = engine.run.number === round ? engine.run.evaluation?.clients.get(client) : undefined;
  return typeof known === "object" ? Verdict.REPEATED : Verdict.LATE;
}

function updateOf(client: string, request: SubmitResultRequest): UpdateRecord {
  const few = (what: string, entries: object): void => {
    if (Object.keys(entries).length > MAX_ENTRIES)
      throw broken(`client "${client}"`, `its result names too many ${what}`);
  };
  few("sets", request.extras);
  few("groups", request.touched);
  return {
    adapter: { config: refOf(client, request.adapterConfig), model: refOf(client, request.adapterModel) },
    extras: Object.fromEntries(
      Object.entries(request.extras).map(([kind, ref]) => [kind, refOf(client, ref)]),
    ),
    examples: wholeOf(client, "examples", request.examples),
    steps: wholeOf(client, "steps", request.steps),
    tokens: wholeOf(client, "tokens", request.tokens),
    touched: Object.fromEntries(
      Object.entries(request.touched).map(([group, count]) => [group, wholeOf(client, group, count)]),
    ),
    metrics: numbersOf(client, request.metrics),
    durationMs: wholeOf(client, "durationMs", request.durationMs),
    ...(request.dataFingerprint !== "" && {
      dataFingerprint: hashOf(client, request.dataFingerprint, "the fingerprint of its data"),
    }),
  };
}

function wholeOf(client: string, what: string, count: bigint): number {
  if (count <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(count);
  throw broken(`client "${client}"`, `"${what.slice(0, 64)}" is out of range`);
}

/** A metric that is not finite cannot be journaled and says nothing: it is refused, by name. */
function numbersOf(client: string, metrics: Readonly<Record<string, number>>): Record<string, number> {
  const entries = Object.entries(metrics);
  if (entries.length > MAX_ENTRIES) throw broken(`client "${client}"`, "its result names too many metrics");
  for (const [name, value] of entries) {
    if (!Number.isFinite(value)) {
      throw broken(`client "${client}"`, `metric "${name.slice(0, 64)}" must be finite, got ${value}`);
    }
  }
  return Object.fromEntries(entries);
}
