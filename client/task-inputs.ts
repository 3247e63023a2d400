/** What a task says and what it is handed, read once and checked. */
import { decodeAdapter } from "../adapters/peft.ts";
import { readSafetensors } from "../adapters/safetensors.ts";
import { FedloomError } from "../base/errors.ts";
import { type TaskOptions, taskOptions } from "../config/task.ts";
import type { BlobRef, Task } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import type { Trainer } from "../training/trainer.ts";
import type { BlobName } from "./blobs.ts";
import { type Inputs, idleMsOf, type WorkControl, type Workplace } from "./workplace.ts";

/** @throws FedloomError F5102 for options that this version does not know */
export function parseOptions(task: Task): TaskOptions {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(task.optionsJson).toString("utf8"));
  } catch (cause) {
    throw unknownTask(task, "its options are no JSON", cause);
  }
  const parsed = taskOptions.safeParse(json);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw unknownTask(task, `"${path.join(".")}": ${message}`, parsed.error);
}

function unknownTask(task: Task, why: string, cause: unknown): FedloomError {
  return new FedloomError(
    "F5102",
    `Cannot do task ${task.taskId}: ${why}; if the coordinator is newer, upgrade this client`,
    { task: task.taskId },
    { cause },
  );
}

/** @throws FedloomError F5104 naming both hashes */
export function requireSameBase(task: Task, trainer: Trainer): void {
  if (task.baseModel === "" || task.baseModel === trainer.baseHash) return;
  throw new FedloomError(
    "F5104",
    `Cannot work for run ${task.runId}: its base model has hash ${task.baseModel}, this client's has ${trainer.baseHash}; start the client with the run's model`,
    { wanted: task.baseModel, got: trainer.baseHash },
  );
}

function nameOf(ref: BlobRef | undefined, what: string, task: Task): BlobName {
  if (ref === undefined)
    throw unknownTask(task, `it lacks its ${what}`, new TypeError(`Task without ${what}`));
  return { sha256: ref.sha256, size: Number(ref.size) };
}

/** Fetches what the client does not have yet, and decodes it. */
export async function fetchInputs(
  task: Task,
  { transfer, state }: Workplace,
  control: WorkControl,
): Promise<Inputs> {
  const config = nameOf(task.adapterConfig, "adapter configuration", task);
  const model = nameOf(task.adapterModel, "adapter", task);
  const sets = Object.entries(task.corrections).map(
    ([kind, ref]) => [kind, nameOf(ref, kind, task)] as const,
  );
  const blobs = [config, model, ...sets.map(([, blob]) => blob)];
  const totalBytes = blobs.reduce((sum, blob) => sum + blob.size, 0);
  const bytes = new Map<string, Uint8Array>();
  let beforeBytes = 0;
  for (const blob of blobs) {
    const fetch = (): Promise<void> =>
      transfer.fetch(blob, {
        signal: control.signal,
        idleMs: idleMsOf(task),
        onProgress: (done) => control.onProgress(beforeBytes + done, totalBytes, {}),
      });
    await fetch();
    try {
      bytes.set(blob.sha256, state.blobs.read(blob));
    } catch (error) {
      if (!(error instanceof FedloomError && error.code === "F5106")) throw error;
      await fetch(); // it was there from an earlier round, and its bits have changed since
      bytes.set(blob.sha256, state.blobs.read(blob));
    }
    beforeBytes += blob.size;
  }
  const read = (blob: BlobName): Uint8Array => bytes.get(blob.sha256)!;
  return {
    global: decodeAdapter({ config: read(config), model: read(model) }, `task ${task.taskId}`),
    globalSha256: model.sha256,
    corrections: Object.fromEntries(sets.map(([kind, blob]) => [kind, readSafetensors(read(blob), kind)])),
  };
}
