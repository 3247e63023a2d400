/** tfjs as a runtime of programs: on TensorFlow's own kernels, in WebAssembly, or in plain JavaScript. */
import type { Runtime } from "../onnx/runtime.ts";
import type { LoadedTfjs } from "./load.ts";
import { openTfjsSession } from "./session.ts";
import { WeightStore } from "./weights.ts";

export interface TfjsRuntime extends Runtime {
  /** Frees the weights; sessions that are still open must not run any more. */
  close(): Promise<void>;
}

export function tfjsRuntime({ tf, backend }: Pick<LoadedTfjs, "tf" | "backend">): TfjsRuntime {
  const weights = new WeightStore(tf);
  // One process has one current backend, and another runtime may have made its own current.
  const use = async (): Promise<void> => {
    if (tf.getBackend() !== backend) await tf.setBackend(backend);
  };
  return {
    open: (program, { folder }) => openTfjsSession(program, { tf, weights, folder, use }),
    async close() {
      weights.close();
    },
  };
}
