/**
 * The standing connection of a client: made, kept, and made again after every loss, until it is closed or the
 * coordinator says that coming back is of no use.
 *
 * Heartbeats go out from here. It runs in a thread of its own (standing-thread.ts) wherever training runs in
 * the same process: a training step of onnxruntime-node blocks the thread that calls it, for minutes with a
 * large model, and a client that is hard at work must not look absent.
 */
import { create } from "@bufbuild/protobuf";
import type { Clock } from "../base/clock.ts";
import { FedloomError, messageOf, type Status } from "../base/errors.ts";
import type { Rng } from "../base/rng.ts";
import type { Fleet } from "../proto/fleet.ts";
import {
  type CancelTask,
  type ConnectRequest,
  ConnectRequestSchema,
  type ConnectResponse,
  type Hello,
  type Task,
  type TaskProgress,
  type Welcome,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { checkVersion } from "../proto/version.ts";
import { createBackoff, pause } from "./backoff.ts";

export interface StandingEvents {
  /** Connected and welcome. */
  onUp(welcome: Welcome): void;
  onTask(task: Task): void;
  onCancel(cancel: CancelTask): void;
  /** The connection is gone; the next attempt comes in `retryMs`. */
  onDown(reason: FedloomError, retryMs: number): void;
  /** Refused or fenced: there will be no further attempt. */
  onEnd(reason: FedloomError): void;
}

export interface Standing {
  /** What the coordinator's screen shows. Dropped while there is no connection; the newest of a task wins. */
  report(progress: TaskProgress): void;
  /** Tasks that the next Hello names as held. */
  hold(taskIds: readonly string[]): void;
  close(): Promise<void>;
}

/** After these the same attempt would end the same way; everything else is worth trying again. */
const FINAL: ReadonlySet<Status> = new Set<Status>([
  "invalid_argument",
  "not_found",
  "already_exists",
  "permission_denied",
  "failed_precondition",
  "aborted",
  "out_of_range",
  "unimplemented",
  "data_loss",
  "unauthenticated",
]);

/** Whether trying again can help. */
export function isTransient(error: unknown): boolean {
  return error instanceof FedloomError && !FINAL.has(error.status);
}

export function holdConnection(
  fleet: Fleet,
  hello: Hello,
  events: StandingEvents,
  { clock, rng }: { readonly clock: Clock; readonly rng: Rng },
): Standing {
  const closing = new AbortController();
  const backoff = createBackoff(rng);
  let held: readonly string[] = hello.heldTasks;
  let outbox: Outbox | undefined;

  /** One connection from Hello to its end. @returns why it ended */
  const connectOnce = async (): Promise<FedloomError> => {
    const requests = createOutbox({ ...hello, heldTasks: [...held] });
    const attempt = new AbortController();
    const abort = (): void => attempt.abort();
    closing.signal.addEventListener("abort", abort, { once: true });
    let stopHeartbeat: (() => void) | undefined;
    try {
      for await (const response of fleet.connect(requests, attempt.signal)) {
        if (closing.signal.aborted) break;
        const { message } = response;
        if (message.case === "welcome") {
          backoff.reset();
          outbox = requests;
          stopHeartbeat ??= startHeartbeat(clock, message.value.heartbeatMs, requests);
        }
        deliver(message, events);
      }
      return new FedloomError("F5001", "The coordinator ended the connection");
    } catch (error) {
      if (error instanceof FedloomError) return error;
      return new FedloomError("F5101", `Cannot go on: ${messageOf(error)}`, {}, { cause: error });
    } finally {
      outbox = undefined;
      stopHeartbeat?.();
      requests.end();
      closing.signal.removeEventListener("abort", abort);
      attempt.abort();
    }
  };

  const running = (async () => {
    while (!closing.signal.aborted) {
      const reason = await connectOnce();
      if (closing.signal.aborted) return;
      if (!isTransient(reason)) return events.onEnd(reason);
      const delayMs = backoff.next();
      events.onDown(reason, delayMs);
      await pause(clock, delayMs, closing.signal);
    }
  })();

  return {
    report: (progress) => outbox?.progress(progress),
    hold(taskIds) {
      held = taskIds;
    },
    async close() {
      closing.abort();
      await running;
    },
  };
}

function deliver(message: ConnectResponse["message"], events: StandingEvents): void {
  switch (message.case) {
    case "welcome":
      checkVersion("the coordinator", message.value.version);
      events.onUp(message.value);
      break;
    case "task":
      events.onTask(message.value);
      break;
    case "cancel":
      events.onCancel(message.value);
      break;
    case undefined: // a kind that a newer coordinator of the same major version knows: made to be ignored
      break;
    default:
      message satisfies never;
  }
}

function startHeartbeat(clock: Clock, everyMs: number, outbox: Outbox): () => void {
  // Half the interval that was asked for: one late beat must not look like an absence.
  const intervalMs = Math.max(50, everyMs / 2);
  let sequence = 0n;
  let stop = (): void => {};
  const beat = (): void => {
    outbox.heartbeat(sequence++);
    stop = clock.after(intervalMs, beat);
  };
  beat();
  return () => stop();
}

interface Outbox extends AsyncIterable<ConnectRequest> {
  heartbeat(sequence: bigint): void;
  progress(progress: TaskProgress): void;
  end(): void;
}

/**
 * What waits to be sent: Hello, one heartbeat, and the newest progress of each task. A connection that takes
 * nothing for an hour costs no more memory than one that is quick.
 */
function createOutbox(hello: Hello): Outbox {
  const waiting = new Map<string, ConnectRequest["message"]>([["hello", { case: "hello", value: hello }]]);
  let ended = false;
  let wake: (() => void) | undefined;
  const put = (key: string, message: ConnectRequest["message"]): void => {
    waiting.set(key, message);
    wake?.();
  };
  return {
    heartbeat: (sequence) =>
      put("heartbeat", { case: "heartbeat", value: { $typeName: "fedloom.v1.Heartbeat", sequence } }),
    progress: (progress) => put(`task ${progress.taskId}`, { case: "progress", value: progress }),
    end() {
      ended = true;
      wake?.();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        for (const [key, message] of waiting) {
          waiting.delete(key);
          yield create(ConnectRequestSchema, { message });
        }
        if (ended) return;
        if (waiting.size > 0) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
