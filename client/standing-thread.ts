/**
 * The standing connection in a worker thread, with a channel of its own: heartbeats and keepalive go on while
 * the main thread computes. What crosses between the threads are protobuf bytes.
 *
 * This file is both ends: `holdConnectionInThread` starts itself as the worker's program.
 */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ChannelOptions } from "@grpc/grpc-js";
import { systemClock } from "../base/clock.ts";
import { type Code, FedloomError } from "../base/errors.ts";
import { createRng } from "../base/rng.ts";
import {
  CancelTaskSchema,
  type Hello,
  HelloSchema,
  TaskProgressSchema,
  TaskSchema,
  WelcomeSchema,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { connectFleet } from "../proto/service.ts";
import { type Credentials, channelCredentials } from "./credentials.ts";
import { holdConnection, type Standing, type StandingEvents } from "./standing.ts";

interface ThreadOptions {
  readonly address: string;
  readonly credentials: Credentials;
  readonly hello: Uint8Array;
  readonly seed: string;
  readonly channel: ChannelOptions;
}

interface PlainError {
  readonly code: Code;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

type FromThread =
  | { readonly kind: "up" | "task" | "cancel"; readonly bytes: Uint8Array }
  | { readonly kind: "down"; readonly error: PlainError; readonly retryMs: number }
  | { readonly kind: "end"; readonly error: PlainError };

type ToThread =
  | { readonly kind: "report"; readonly bytes: Uint8Array }
  | { readonly kind: "hold"; readonly taskIds: readonly string[] }
  | { readonly kind: "close" };

/**
 * @param seed of the jitter between attempts
 * @param channel options of gRPC in place of the usual ones
 */
export function holdConnectionInThread(
  address: string,
  credentials: Credentials,
  hello: Hello,
  events: StandingEvents,
  seed: string,
  channel: ChannelOptions = {},
): Standing {
  const options: ThreadOptions = {
    address,
    credentials,
    hello: toBinary(HelloSchema, hello),
    seed,
    channel,
  };
  const worker = new Worker(new URL(import.meta.url), { workerData: { standing: options } });
  const post = (message: ToThread): void => worker.postMessage(message);
  worker.on("message", (message: FromThread) => {
    switch (message.kind) {
      case "up":
        events.onUp(fromBinary(WelcomeSchema, message.bytes));
        break;
      case "task":
        events.onTask(fromBinary(TaskSchema, message.bytes));
        break;
      case "cancel":
        events.onCancel(fromBinary(CancelTaskSchema, message.bytes));
        break;
      case "down":
        events.onDown(revive(message.error), message.retryMs);
        break;
      case "end":
        events.onEnd(revive(message.error));
        break;
      default:
        message satisfies never;
    }
  });
  worker.on("error", (cause) => {
    events.onEnd(new FedloomError("F5101", `Cannot keep the connection: ${cause.message}`, {}, { cause }));
  });
  const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  return {
    report: (progress) => post({ kind: "report", bytes: toBinary(TaskProgressSchema, progress) }),
    hold: (taskIds) => post({ kind: "hold", taskIds }),
    async close() {
      post({ kind: "close" });
      await exited;
    },
  };
}

function revive({ code, message, details }: PlainError): FedloomError {
  return new FedloomError(code, message, { ...details });
}

function plain({ code, message }: FedloomError): PlainError {
  return { code, message, details: {} };
}

function runThread({ address, credentials, hello, seed, channel }: ThreadOptions): void {
  const port = parentPort!; // a worker has one
  const post = (message: FromThread): void => port.postMessage(message);
  const fleet = connectFleet(address, channelCredentials(credentials), channel);
  const standing = holdConnection(
    fleet,
    fromBinary(HelloSchema, hello),
    {
      onUp: (welcome) => post({ kind: "up", bytes: toBinary(WelcomeSchema, welcome) }),
      onTask: (task) => post({ kind: "task", bytes: toBinary(TaskSchema, task) }),
      onCancel: (cancel) => post({ kind: "cancel", bytes: toBinary(CancelTaskSchema, cancel) }),
      onDown: (error, retryMs) => post({ kind: "down", error: plain(error), retryMs }),
      onEnd: (error) => post({ kind: "end", error: plain(error) }),
    },
    { clock: systemClock, rng: createRng(seed) },
  );
  port.on("message", (message: ToThread) => {
    switch (message.kind) {
      case "report":
        standing.report(fromBinary(TaskProgressSchema, message.bytes));
        break;
      case "hold":
        standing.hold(message.taskIds);
        break;
      case "close":
        void standing.close().then(() => {
          fleet.close();
          port.close();
        });
        break;
      default:
        message satisfies never;
    }
  });
}

if (!isMainThread && (workerData as { standing?: ThreadOptions } | null)?.standing !== undefined) {
  runThread((workerData as { standing: ThreadOptions }).standing);
}
