/**
 * A thread that holds the model for the coordinator: the engine blocks its thread while it computes, and the
 * coordinator must answer its clients meanwhile. model-port.ts is the other end.
 */
import { parentPort } from "node:worker_threads";
import type { Adapter } from "../../adapters/adapter.ts";
import { type Code, FedloomError, messageOf } from "../../base/errors.ts";
import type { RunConfig } from "../../config/run.ts";
import { fingerprintOf } from "../../data/fingerprint.ts";
import { evaluateAdapter, firstAdapter, heldOutExamples } from "../../scenarios/fleet/model-work.ts";
import type { Trainer } from "../../training/trainer.ts";
import { openTrainer, type TrainerChoice } from "../trainers.ts";

/** What to compute on; the model is the run's. */
export type EngineChoice = Omit<TrainerChoice, "model">;

export type ToModelThread =
  | {
      readonly kind: "create";
      readonly id: number;
      readonly config: RunConfig;
      readonly engine: EngineChoice;
    }
  | {
      readonly kind: "evaluate";
      readonly id: number;
      readonly config: RunConfig;
      readonly adapter: Adapter;
      readonly engine: EngineChoice;
    }
  | { readonly kind: "fingerprint"; readonly id: number; readonly config: RunConfig }
  | { readonly kind: "abort"; readonly id: number }
  | { readonly kind: "close" };

export type FromModelThread =
  | { readonly kind: "done"; readonly id: number; readonly value: unknown }
  | {
      readonly kind: "failed";
      readonly id: number;
      readonly code: Code | undefined;
      readonly message: string;
    };

const port = parentPort;
if (port === null) throw new TypeError("model-thread.ts runs as a worker thread only");
const answer = (message: FromModelThread): void => port.postMessage(message);

/** One model at a time stays open: runs of one coordinator mostly share it. */
let open: { key: string; trainer: Promise<Trainer> } | undefined;
const running = new Map<number, AbortController>();

async function trainerFor({ model }: RunConfig, engine: EngineChoice): Promise<Trainer> {
  const key = `${engine.device} ${model}`;
  if (open?.key !== key) {
    const before = open;
    open = { key, trainer: openTrainer("onnx", { ...engine, model }) };
    await (await before?.trainer.catch(() => undefined))?.close();
  }
  try {
    return await open.trainer;
  } catch (error) {
    open = undefined; // the next request tries again: the files may have been mended
    throw error;
  }
}

async function work(
  message: ToModelThread & { kind: "create" | "evaluate" | "fingerprint" },
  signal: AbortSignal,
): Promise<unknown> {
  if (message.kind === "fingerprint") return fingerprintOf(await heldOutExamples(message.config), { signal });
  const trainer = await trainerFor(message.config, message.engine);
  if (message.kind === "create") return firstAdapter(trainer, message.config);
  const examples = await heldOutExamples(message.config);
  return evaluateAdapter(trainer, message.config, message.adapter, examples, signal);
}

port.on("message", async (message: ToModelThread) => {
  if (message.kind === "abort") {
    running.get(message.id)?.abort();
  } else if (message.kind === "close") {
    for (const controller of running.values()) controller.abort();
    await (await open?.trainer.catch(() => undefined))?.close();
    port.close();
  } else {
    const controller = new AbortController();
    running.set(message.id, controller);
    try {
      answer({ kind: "done", id: message.id, value: await work(message, controller.signal) });
    } catch (error) {
      const code = error instanceof FedloomError ? error.code : undefined;
      answer({ kind: "failed", id: message.id, code, message: messageOf(error) });
    } finally {
      running.delete(message.id);
    }
  }
});
