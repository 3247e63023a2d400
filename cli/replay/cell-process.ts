/**
 * A process that runs cells: the engine blocks its thread while it computes, so jobs at a time want threads of their
 * own, and a process that runs out of memory takes one cell with it, not the replay. cell-processes.ts is the other end.
 */
import { FedloomError, messageOf } from "../../base/errors.ts";
import type { DatasetName } from "../../scenarios/fedmllm/scenario.ts";
import type { Cell } from "../../scenarios/replay/cell.ts";
import { type CellRunner, runnerHere } from "../../scenarios/replay/cell-runner.ts";
import type { Protocol } from "../../scenarios/replay/profiles.ts";
import { openLogFile } from "../logging.ts";
import { openTrainer, type TrainerChoice } from "../trainers.ts";

export interface ProcessOptions {
  readonly choice: TrainerChoice;
  /** Folder of the datasets. */
  readonly data: string;
  /** Log file. */
  readonly log: string;
}

export type ToCellProcess =
  | { readonly kind: "open"; readonly options: ProcessOptions }
  | { readonly kind: "run"; readonly cell: Cell; readonly protocol: Protocol }
  | { readonly kind: "pace"; readonly dataset: DatasetName; readonly protocol: Protocol };

export type FromCellProcess =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: string | undefined; readonly message: string };

async function open({ choice, data, log }: ProcessOptions): Promise<CellRunner> {
  const trainer = await openTrainer("onnx", choice);
  const { model, device } = choice;
  return runnerHere({ data, model, device, trainer, log: openLogFile(log) });
}

let runner: CellRunner | undefined;

async function work(message: ToCellProcess): Promise<unknown> {
  if (message.kind === "open") {
    runner = await open(message.options);
    return undefined;
  }
  // The other end opens first.
  return message.kind === "run"
    ? runner!.run(message.cell, message.protocol)
    : runner!.pace(message.dataset, message.protocol);
}

process.on("message", async (message: ToCellProcess) => {
  let answer: FromCellProcess;
  try {
    answer = { ok: true, value: await work(message) };
  } catch (error) {
    const code = error instanceof FedloomError ? error.code : undefined;
    answer = { ok: false, code, message: messageOf(error) };
  }
  process.send?.(answer);
});
// Nobody is left who would write the result down: the command ended, or was killed.
process.on("disconnect", () => process.exit());
// Ctrl-C reaches every process of the terminal; the command decides, and hangs up.
process.on("SIGINT", () => {});
