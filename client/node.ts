/**
 * A client node: joins, works on the tasks it is given one after another, and keeps what it finished until the
 * coordinator has it. It ends when it is told to, when it is refused, or when a newer process took its name;
 * a coordinator that is gone it waits for.
 */
import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { Clock } from "../base/clock.ts";
import { FedloomError } from "../base/errors.ts";
import { errorFields, type Log } from "../base/log.ts";
import type { Rng } from "../base/rng.ts";
import type { Fleet } from "../proto/fleet.ts";
import { type Hello, HelloSchema } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { ownVersion } from "../proto/version.ts";
import type { Trainer } from "../training/trainer.ts";
import { type Shard, takeInventory } from "./inventory.ts";
import { tailLog } from "./log-tail.ts";
import type { Standing, StandingEvents } from "./standing.ts";
import type { ClientState } from "./state.ts";
import { createWorkList } from "./work-list.ts";
import { createWorker, taskFields } from "./worker.ts";

export interface NodeOptions {
  readonly fleet: Fleet;
  /** holdConnection or holdConnectionInThread. */
  open(hello: Hello, events: StandingEvents): Standing;
  readonly trainer: Trainer;
  readonly device: string;
  readonly shard: Shard;
  /** Of the training examples (data/fingerprint.ts), with a key that only this client has; none is told where it is absent. */
  readonly dataFingerprint?: string;
  readonly state: ClientState;
  readonly clock: Clock;
  /** For the jitter between attempts only. */
  readonly rng: Rng;
  readonly log: Log;
  /** Lines of the log that may leave this machine with the report of a failure; none where it is absent. */
  readonly shareLogLines?: number;
  /** Ends the node; work in hand is dropped and begins anew at the next start. */
  readonly signal: AbortSignal;
}

/**
 * Runs until `signal` aborts, and then resolves.
 *
 * @throws FedloomError F5103 without examples, F5004 when a newer process of the same id connected, and whatever the
 *   coordinator refuses the client with
 */
export async function runNode(options: NodeOptions): Promise<void> {
  const { state, shard, trainer } = options;
  const { log, lines: logLines } = tailLog(options.log, options.shareLogLines ?? 0);
  if (shard.train.length + shard.heldOut.length === 0) {
    throw new FedloomError("F5103", `Cannot start client "${state.clientId}": its data holds no examples`);
  }
  const ending = new AbortController();
  const end = (): void => ending.abort();
  options.signal.addEventListener("abort", end, { once: true });
  if (options.signal.aborted) end();
  let refusal: FedloomError | undefined;

  const work = createWorkList(ending.signal);
  const heldTasks = (): string[] => [
    ...new Set([...work.taskIds(), ...state.kept().map(({ taskId }) => taskId)]),
  ];
  const noted = state.noted();
  if (noted !== undefined) log.info("A task was cut off; it begins anew when it is offered", { task: noted });

  const standing = options.open(
    create(HelloSchema, {
      version: ownVersion(),
      clientId: state.clientId,
      sessionId: randomUUID(),
      inventory: takeInventory(shard, trainer, options.device, options.dataFingerprint ?? ""),
      heldTasks: heldTasks(),
    }),
    {
      onUp: () => log.info("Connected", { client: state.clientId }),
      onTask(task) {
        const finished = state.kept().some(({ taskId }) => taskId === task.taskId);
        if (finished) work.addKept(task.taskId, true);
        else if (work.addTask(task)) log.info("Task received", taskFields(task));
        standing.hold(heldTasks());
      },
      onCancel(cancel) {
        const finished = state.kept().some(({ taskId }) => taskId === cancel.taskId);
        if (finished) work.addKept(cancel.taskId, false);
        else if (work.cancel(cancel)) {
          log.info("Task cancelled", { task: cancel.taskId, code: cancel.code, reason: cancel.reason });
        }
      },
      onDown: (reason, retryMs) =>
        log.warn("Connection lost; trying again", {
          ...errorFields(reason),
          retryMs: Math.round(retryMs),
        }),
      onEnd(reason) {
        refusal = reason;
        end();
      },
    },
  );

  try {
    const worker = createWorker({ ...options, log, logLines }, standing, ending.signal);
    await worker.dropDamaged();
    for await (const item of work) {
      await (item.kind === "task" ? worker.perform(item.task, item.signal) : worker.deliverKept(item));
      standing.hold(heldTasks());
    }
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  } finally {
    options.signal.removeEventListener("abort", end);
    end();
    await standing.close();
  }
  if (refusal !== undefined) throw refusal;
}
