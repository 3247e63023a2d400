/** The trainer that runs the same graphs as the onnx trainer on tfjs. */
import { type OnnxTrainerOptions, openOnnxTrainer } from "./onnx-trainer.ts";
import type { LoadedTfjs } from "./tfjs/load.ts";
import { tfjsRuntime } from "./tfjs/runtime.ts";
import type { Trainer } from "./trainer.ts";

export interface TfjsTrainerOptions extends Omit<OnnxTrainerOptions, "runtime" | "device" | "threads"> {
  /** What runs the kernels (tfjs/load.ts). */
  readonly tfjs: Pick<LoadedTfjs, "tf" | "backend">;
}

/** @throws what the onnx trainer throws; FedloomError F2111 also for an operator that tfjs does not compute */
export async function openTfjsTrainer({ tfjs, ...options }: TfjsTrainerOptions): Promise<Trainer> {
  const runtime = tfjsRuntime(tfjs);
  try {
    const trainer = await openOnnxTrainer({ ...options, runtime });
    return {
      ...trainer,
      name: "tfjs",
      async close() {
        await trainer.close();
        await runtime.close();
      },
    };
  } catch (error) {
    await runtime.close();
    throw error;
  }
}
