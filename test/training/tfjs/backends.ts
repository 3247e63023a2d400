/** The backends that tests run on: WebAssembly and JavaScript always, TensorFlow's own library where it is installed. */
import { type Backend, type LoadedTfjs, loadTfjs } from "../../../training/tfjs/load.ts";
import { type TfjsRuntime, tfjsRuntime } from "../../../training/tfjs/runtime.ts";
import { only } from "./only.ts";

const plain = await loadTfjs("cpu", { find: only("@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm") });
const best = await loadTfjs("cpu", { threads: 1 });

export const BACKENDS: readonly Backend[] =
  best.backend === "tensorflow" ? ["wasm", "cpu", "tensorflow"] : ["wasm", "cpu"];

export const tfjsOn = (backend: Backend): Pick<LoadedTfjs, "tf" | "backend"> => ({
  tf: backend === "tensorflow" ? best.tf : plain.tf,
  backend,
});

export const runtimeOn = (backend: Backend): TfjsRuntime => tfjsRuntime(tfjsOn(backend));
