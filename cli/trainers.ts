/** The training engines by name. Each is loaded only where it is asked for. */
import { FedloomError } from "../base/errors.ts";
import type { Trainer } from "../training/trainer.ts";

export const TRAINERS = ["onnx", "command", "tfjs"] as const;
export type TrainerName = (typeof TRAINERS)[number];

export const DEVICES = ["cpu", "cuda", "webgpu"] as const;
export type Device = (typeof DEVICES)[number];

export interface TrainerChoice {
  readonly model: string;
  readonly device: Device;
  /** Threads of the runtime; its own choice, all cores, where absent. */
  readonly threads?: number;
  /** "fast" repacks weights, with the onnx trainer. */
  readonly mode?: "lean" | "fast";
  /** Called with what an engine has to say about itself, for the log. */
  readonly note?: (text: string) => void;
  /** What the command trainer starts: a line for the shell. */
  readonly command?: string;
}

/** For a command line's flag of two words. */
export const FAST_HELP =
  "repack weights: steps take 5 to 15 % less time, memory grows by up to the weights' size";

/** @throws FedloomError F1003 for a command trainer without its command, F1005 for an engine that is not there */
export async function openTrainer(name: TrainerName, choice: TrainerChoice): Promise<Trainer> {
  if ((name === "command") !== (choice.command !== undefined)) {
    throw new FedloomError(
      "F1003",
      `Cannot open the ${name} trainer: --trainer command and --command go together`,
    );
  }
  if (choice.mode === "fast" && name !== "onnx") {
    throw new FedloomError("F1003", `Cannot open the ${name} trainer: --fast is for --trainer onnx`);
  }
  switch (name) {
    case "onnx": {
      const { openOnnxTrainer } = await import("../training/onnx-trainer.ts");
      return openOnnxTrainer(choice);
    }
    case "command": {
      const { openCommandTrainer } = await import("../training/command-trainer.ts");
      const { model, device, command = "" } = choice;
      return openCommandTrainer({ model, device, command });
    }
    case "tfjs": {
      const { openTfjsTrainer } = await import("../training/tfjs-trainer.ts");
      const { loadTfjs, nameOf } = await import("../training/tfjs/load.ts");
      const { model, device, threads, note } = choice;
      const tfjs = await loadTfjs(device, { threads });
      note?.(`Training with ${nameOf(tfjs)}`);
      for (const { package: name, reason } of tfjs.broken) note?.(`Package ${name} does not work: ${reason}`);
      return openTfjsTrainer({ model, tfjs });
    }
    default:
      throw new TypeError(`No trainer "${name satisfies never}"`);
  }
}
