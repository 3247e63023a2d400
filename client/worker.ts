/** What a node does with a task: train or evaluate, deliver the result, report the failure, clear up. */
import { create } from "@bufbuild/protobuf";
import { FedloomError } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import { errorFields, type Log } from "../base/log.ts";
import type { Rng } from "../base/rng.ts";
import type { Fleet } from "../proto/fleet.ts";
import {
  ReportFailureRequestSchema,
  type SubmitResultRequest,
  type Task,
  TaskProgressSchema,
  Verdict,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { isIntact } from "./blobs.ts";
import { blobsOf, deliver } from "./deliver.ts";
import { coded, shareable, tooLate } from "./failure.ts";
import { follow } from "./follower.ts";
import { type Persistence, untilAnswered } from "./persistence.ts";
import { isTransient, type Standing } from "./standing.ts";
import { createTransfer } from "./transfer.ts";
import { doTask } from "./work.ts";
import { idleMsOf, type Phase, type Workplace } from "./workplace.ts";

/** Longest time without progress while a result of an earlier start is delivered. */
const DELIVERY_IDLE_MS = 60_000;

/** A task that comes again comes at once, if it does. */
const ACCEPTED_REMEMBERED = 8;

export interface Worker {
  /** Forgets kept results whose files are not what they were; their tasks begin anew. */
  dropDamaged(): Promise<void>;
  /** Delivers a kept result now that the coordinator has spoken of its task. */
  deliverKept(item: { readonly taskId: string; readonly open: boolean }): Promise<void>;
  /** Does a task to its end: result delivered, failure reported, or called off. @throws once the node ends */
  perform(task: Task, signal: AbortSignal): Promise<void>;
}

export function createWorker(
  options: Omit<Workplace, "transfer"> & {
    readonly fleet: Fleet;
    readonly rng: Rng;
    readonly log: Log;
    /** What goes out with the report of a failure. */
    logLines(): readonly string[];
  },
  standing: Standing,
  ending: AbortSignal,
): Worker {
  const { fleet, state, clock, rng, log, logLines } = options;
  const persistence: Persistence = {
    clock,
    rng,
    onWait: (reason, retryMs) =>
      log.warn("The coordinator does not answer; trying again", {
        ...errorFields(reason),
        retryMs: Math.round(retryMs),
      }),
  };
  const transfer = createTransfer(fleet, state.blobs, state.clientId, persistence);
  /** The newest results that the coordinator took, oldest first. */
  const accepted = new Map<string, SubmitResultRequest>();

  /**
   * Whether the task was done already. A connection that is just being made may bring a task whose result was
   * accepted meanwhile over another: offering the result once more tells, and costs no training.
   */
  const isDone = async ({ taskId }: Task): Promise<boolean> => {
    const result = accepted.get(taskId);
    if (result === undefined) return false;
    const answer = await untilAnswered(
      () => fleet.submitResult(result, ending).catch(refusedOnly),
      ending,
      persistence,
    );
    return answer !== undefined && answer.verdict !== Verdict.REFUSED;
  };

  const deliverResult = async (result: SubmitResultRequest, idleMs: number, open: boolean): Promise<void> => {
    const delivery = await deliver(
      result,
      open,
      { fleet, state, transfer, persistence },
      {
        signal: ending,
        idleMs,
        onProgress: (done, total) =>
          standing.report(
            create(TaskProgressSchema, {
              taskId: result.taskId,
              phase: "push",
              done: BigInt(done),
              total: BigInt(total),
            }),
          ),
      },
    );
    const fields = { task: result.taskId, run: result.runId, round: result.round };
    if (delivery.kind === "accepted") {
      log.info("Result accepted", fields);
      accepted.set(result.taskId, result);
      if (accepted.size > ACCEPTED_REMEMBERED) accepted.delete(accepted.keys().next().value!);
    } else log.warn(`Result ${delivery.kind}`, { ...fields, ...delivery });
  };

  const reportFailure = (task: Task, phase: Phase, error: FedloomError): Promise<unknown> => {
    const request = create(ReportFailureRequestSchema, {
      clientId: state.clientId,
      taskId: task.taskId,
      phase,
      code: error.code,
      message: shareable(error, logLines()),
    });
    return untilAnswered(() => fleet.reportFailure(request, ending), ending, persistence);
  };

  return {
    async dropDamaged() {
      for (const { taskId, ...result } of state.kept()) {
        const intact = await Promise.all(
          blobsOf(result).map(({ sha256, size }) => isIntact(state.blobs, { sha256, size: Number(size) })),
        );
        if (intact.every(Boolean)) continue;
        log.error("The kept result is damaged on disk; its task begins anew", {
          code: "F5106",
          task: taskId,
        });
        state.settle(taskId);
      }
    },

    async deliverKept({ taskId, open }) {
      const result = state.kept().find((kept) => kept.taskId === taskId);
      if (result === undefined) return; // delivered meanwhile
      log.info("Offering a finished result again", { task: taskId, round: result.round });
      await deliverResult(result, DELIVERY_IDLE_MS, open);
    },

    async perform(task, signal) {
      let phase: Phase = "fetch";
      const report = (done: number, total: number, metrics: Readonly<Record<string, number>>): void =>
        standing.report(
          create(TaskProgressSchema, {
            taskId: task.taskId,
            phase,
            done: BigInt(done),
            total: BigInt(total),
            metrics,
          }),
        );
      const { controller: bounded, leave } = follow(signal);
      const stopDeadline =
        task.deadlineMs === 0n
          ? () => {}
          : clock.after(Number(task.deadlineMs), () => bounded.abort(tooLate(task)));
      try {
        if (await isDone(task)) return;
        state.note(task.taskId);
        failpoint("client.task-noted");
        const result = await doTask(
          task,
          { ...options, transfer },
          {
            signal: bounded.signal,
            onPhase(next) {
              phase = next;
              report(0, 0, {});
            },
            onProgress: report,
          },
        );
        state.note(undefined); // from here on the kept result stands for the task
        phase = "push";
        // A finished result is offered even if the task was called off: the coordinator records that it came.
        await deliverResult(result, idleMsOf(task), true);
      } catch (error) {
        if (signal.aborted) {
          ending.throwIfAborted();
          return;
        }
        const failure = coded(bounded.signal.aborted ? bounded.signal.reason : error);
        log.error(`Task failed in ${phase}`, { ...taskFields(task), ...errorFields(failure) });
        state.settle(task.taskId);
        await reportFailure(task, phase, failure);
      } finally {
        stopDeadline();
        leave();
        if (!ending.aborted) state.note(undefined);
        const needed = state.kept().flatMap((result) => blobsOf(result).map(({ sha256 }) => sha256));
        state.blobs.prune(new Set(needed));
      }
    },
  };
}

export function taskFields(task: Task): Record<string, string | number> {
  return { task: task.taskId, run: task.runId, round: task.round };
}

/** A coordinator that has lost the result, or its blobs, wants the task done anew; any other trouble is thrown on. */
function refusedOnly(error: unknown): undefined {
  if (error instanceof FedloomError && (!isTransient(error) || error.code === "F5011")) return undefined;
  throw error;
}
