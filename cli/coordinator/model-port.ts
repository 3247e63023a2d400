/** The coordinator's model, in a thread of its own that starts with the first run that needs it. */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Adapter } from "../../adapters/adapter.ts";
import { FedloomError } from "../../base/errors.ts";
import type { RunConfig } from "../../config/run.ts";
import type { ModelPort } from "../../server/ports.ts";
import type { EngineChoice, FromModelThread, ToModelThread } from "./model-thread.ts";

export interface ThreadedModel extends ModelPort {
  close(): Promise<void>;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

export function openModelPort(engine: EngineChoice): ThreadedModel {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | undefined;
  let next = 0;

  const start = (): Worker => {
    const started = new Worker(new URL(`./model-thread${extname(import.meta.url)}`, import.meta.url));
    started.on("message", (message: FromModelThread) => {
      const request = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.kind === "done") request?.resolve(message.value);
      else request?.reject(errorOf(message));
    });
    const lost = (error?: Error): void => {
      worker = undefined;
      const failure = new FedloomError(
        "F1005",
        "Cannot go on with the model: its thread ended",
        {},
        { cause: error },
      );
      for (const request of waiting.values()) request.reject(failure);
      waiting.clear();
    };
    started.on("error", lost);
    started.on("exit", () => lost());
    return started;
  };
  const ask = (message: (id: number) => ToModelThread, signal: AbortSignal): Promise<unknown> => {
    signal.throwIfAborted();
    worker ??= start();
    const id = next++;
    const asked = worker;
    const abort = (): void => asked.postMessage({ kind: "abort", id } satisfies ToModelThread);
    signal.addEventListener("abort", abort, { once: true });
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      asked.postMessage(message(id));
    }).finally(() => signal.removeEventListener("abort", abort));
  };

  return {
    // as: the thread answers "create" with an adapter, "evaluate" with numbers, "fingerprint" with a hash
    createAdapter: async (config: RunConfig, signal) =>
      (await ask((id) => ({ kind: "create", id, config, engine }), signal)) as Adapter,
    evaluate: async (config, adapter, signal) =>
      (await ask((id) => ({ kind: "evaluate", id, config, adapter, engine }), signal)) as Record<
        string,
        number
      >,
    heldOutFingerprint: async (config, signal) =>
      (await ask((id) => ({ kind: "fingerprint", id, config }), signal)) as string,
    async close() {
      const closing = worker;
      if (closing === undefined) return;
      const exited = new Promise((resolve) => closing.once("exit", resolve));
      closing.postMessage({ kind: "close" } satisfies ToModelThread);
      await exited;
    },
  };
}

function errorOf({ code, message }: FromModelThread & { kind: "failed" }): Error {
  return code === undefined ? new Error(message) : new FedloomError(code, message);
}
