/** How each kind of work is done. What it returns is told to the run; what it throws stops the run with the reason. */
import { FedloomError } from "../../base/errors.ts";
import { failpoint } from "../../base/failpoint.ts";
import { durationMs } from "../../config/duration.ts";
import { isAsync } from "../../config/run.ts";
import type { Task } from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { changedIn } from "../data-used.ts";
import { recordOf } from "../history.ts";
import type { Failure } from "../records.ts";
import { missed, updatesOf } from "../round.ts";
import { assignmentOf, type RunCommand, type RunWork } from "../run/state.ts";
import { formatTaskId, type TaskName } from "../task-id.ts";
import { aggregate, readWhole, writeAdapter } from "./aggregate.ts";
import { choose } from "./choose.ts";
import type { Place } from "./place.ts";
import { prepare } from "./prepare.ts";
import { finishFiles, publishRounds, writeManifest } from "./publish.ts";
import { evaluateTask, trainTask } from "./task.ts";

export async function perform(
  place: Place,
  work: RunWork,
  signal: AbortSignal,
): Promise<RunCommand | undefined> {
  const { run, parts, row } = place;
  const { number: round, attempt } = run;
  switch (work.kind) {
    case "prepare":
      return prepare(row.config, parts.model, parts.blobs, signal);
    case "choose":
      return choose(place, work, signal);
    case "offer":
      return offerTraining(place, work, signal);
    case "wake": {
      if (work.over === "deadline") place.deadlineAtMs = parts.clock.monotonic() + work.afterMs;
      await sleep(place, work.afterMs, signal);
      const over = work.over === "grace" ? "grace over" : "deadline over";
      return { type: "round", round, attempt, command: { type: over } };
    }
    case "aggregate": {
      const input = {
        config: row.config,
        round,
        global: run.global!,
        state: run.state!,
        totalClients: run.population.size,
        updates: updatesOf(run.round!.members),
      };
      const outcome = await aggregate(parts.blobs, input, parts.aggregator);
      failpoint("server.aggregated");
      return { type: "aggregated", round, outcome };
    }
    case "evaluate": {
      if (parts.model.evaluate === undefined) {
        throw new FedloomError(
          "F4017",
          `Cannot evaluate round ${round} of run "${run.id}": this coordinator has no model to evaluate with`,
        );
      }
      const adapter = await readWhole(parts.blobs, run.outcome!, `round ${round}`);
      const metrics = await parts.model.evaluate(row.config, adapter, signal);
      const dataFingerprint = await parts.model.heldOutFingerprint?.(row.config, signal);
      failpoint("server.evaluated");
      return { type: "evaluated", round, metrics, ...(dataFingerprint !== undefined && { dataFingerprint }) };
    }
    case "offer evaluation":
      return offerEvaluation(place, work.client, signal);
    case "wake evaluation":
      place.deadlineAtMs = parts.clock.monotonic() + work.afterMs;
      await sleep(place, work.afterMs, signal);
      return { type: "evaluation over", round };
    case "publish":
      if (parts.directory !== undefined) {
        await publishRounds(
          parts.directory,
          [...place.rounds, recordOf(run, place.times)],
          place.publishedBytes,
        );
        if (changedIn(place.dataUsed, round)) await writeManifest(parts.directory, place);
      }
      failpoint("server.published");
      return { type: "published", round };
    case "finish":
      if (parts.directory !== undefined) {
        await finishFiles(parts.directory, run, place.rounds, parts.blobs);
      }
      failpoint("server.finishing");
      return { type: "finished" };
    default:
      throw work satisfies never;
  }
}

function offerTraining(
  place: Place,
  { client, draw }: RunWork & { readonly kind: "offer" },
  signal: AbortSignal,
): undefined {
  const { run, parts } = place;
  const round = draw ?? run.number;
  const ofAttempt = draw === undefined ? { attempt: run.attempt } : {}; // a draw is of one attempt
  const fail = (failure: Failure): Promise<unknown> =>
    place.submit({ type: "round", round, ...ofAttempt, command: { type: "fail", client, failure } });
  const { start } = assignmentOf(run, client, round)!;
  const left = draw === undefined ? () => leftMs(place) : ownDeadline(place, fail, signal);
  const build = async (): Promise<Task> => {
    const codecs = parts.presence.inventory(client)?.codecs ?? [place.row.config.codec];
    const materials = await place.materials(start);
    const limits = { codecs, deadlineMs: left() };
    return trainTask(place.run, { client, number: round, start }, materials, parts.blobs, limits);
  };
  offer(place, { run: place.run.id, round, kind: "train", client }, signal, { build, fail });
}

/** Of a task in an asynchronous run, where no round has a deadline. @returns what is left of it */
function ownDeadline(
  { parts: { clock }, row }: Place,
  fail: (failure: Failure) => Promise<unknown>,
  signal: AbortSignal,
): () => number {
  const deadlineMs = durationMs(row.config.cohort.deadline);
  const endsAtMs = clock.monotonic() + deadlineMs;
  const cancel = clock.after(deadlineMs, () => {
    fail(missed("the task's deadline", deadlineMs)).catch(() => undefined); // a broken store has been told already
  });
  signal.addEventListener("abort", cancel, { once: true });
  return () => Math.max(1, endsAtMs - clock.monotonic());
}

function offerEvaluation(place: Place, client: string, signal: AbortSignal): undefined {
  const { number: round, outcome } = place.run;
  const fail = (reply: Failure): Promise<unknown> =>
    place.submit({ type: "client evaluated", round, client, reply });
  const build = async (): Promise<Task> => {
    const { blobs } = place.parts;
    const { global, baseDelta } = outcome!;
    const whole =
      baseDelta === undefined
        ? global
        : await writeAdapter(blobs, await readWhole(blobs, outcome!, `round ${round}`));
    return evaluateTask(place.run, client, whole, leftMs(place));
  };
  offer(place, { run: place.run.id, round, kind: "evaluate", client }, signal, { build, fail });
}

interface Offering {
  build(): Promise<Task>;
  fail(failure: Failure): Promise<unknown>;
}

function offer(place: Place, name: TaskName, signal: AbortSignal, { build, fail }: Offering): undefined {
  const { blobs, dispatcher, log } = place.parts;
  const taskId = formatTaskId(name);
  const { client, round } = name;
  // A journal that cannot be written has ended the place already.
  const tell = (failure: Failure): void => void fail(failure).catch(() => undefined);
  const end = (): void => {
    const reason = endOf(place, name);
    // The last upload of a result that a stopped run wanted may end: the resumed round keeps it.
    dispatcher.withdraw(client, taskId, { reason, over: !place.closed && place.run.stopped === undefined });
    // What it uploaded of a result that nobody waits for will never be whole.
    if (reason !== undefined && !dispatcher.busy(client)) {
      blobs
        .forget(client)
        .catch((error: unknown) => log.warn("Uploads left behind", { client, reason: String(error) }));
    }
  };
  signal.addEventListener("abort", end, { once: true });
  dispatcher.offer({
    taskId,
    client,
    idleMs: place.idleMs(),
    build,
    onLost(failure) {
      log.warn("Task lost", { client, round, phase: failure.phase, reason: failure.message });
      tell(failure);
    },
    onError(error) {
      const { code, message } =
        error instanceof FedloomError ? error : new FedloomError("F4017", String(error));
      tell({ phase: "offer", code, message });
    },
  });
}

/** What a client at work on a task that is gone is told; nothing where it ended the task itself. */
function endOf(place: Place, { round, kind, client }: TaskName): { code: string; text: string } | undefined {
  const { run } = place;
  if (place.closed) return undefined;
  if (run.stopped !== undefined) return { code: "F4011", text: `the run stopped: ${run.stopped.reason}` };
  if (kind === "evaluate") return run.evaluation?.clients.has(client) ? undefined : closedRound(round);
  const member = assignmentOf(run, client, round)?.member;
  if (member?.status === "received") return undefined;
  if (member?.status === "failed") return { code: member.failure.code, text: member.failure.message };
  return isAsync(run.config)
    ? { code: "F4011", text: "the run has the rounds that it was to have" }
    : closedRound(round);
}

function closedRound(round: number): { code: string; text: string } {
  return { code: "F4011", text: `round ${round} closed without this client` };
}

function leftMs(place: Place): number {
  return Math.max(1, place.deadlineAtMs - place.parts.clock.monotonic());
}

/** Never resolves once the signal is aborted. */
function sleep({ parts }: Place, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const cancel = parts.clock.after(delayMs, resolve);
    signal.addEventListener("abort", cancel, { once: true });
  });
}
