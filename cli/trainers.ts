/** The training engines by name. Each is loaded only where it is asked for: two of them are optional. */
import type { Trainer } from "../training/trainer.ts";

export const TRAINERS = ["onnx"] as const;
export type TrainerName = (typeof TRAINERS)[number];

export const DEVICES = ["cpu", "cuda", "webgpu"] as const;
export type Device = (typeof DEVICES)[number];

export interface TrainerChoice {
  readonly model: string;
  readonly device: Device;
  /** Threads of the runtime; its own choice, all cores, where absent. */
  readonly threads?: number;
}

export async function openTrainer(name: TrainerName, choice: TrainerChoice): Promise<Trainer> {
  switch (name) {
    case "onnx": {
      const { openOnnxTrainer } = await import("../training/onnx-trainer.ts");
      return openOnnxTrainer(choice);
    }
    default:
      throw new TypeError(`No trainer "${name satisfies never}"`);
  }
}
