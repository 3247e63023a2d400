/**
 * Runs one real graph on tfjs and prints what happened as JSON. A process of its own, because a native library that
 * does not fit the machine may end the process, or never come back.
 *
 * node try-tfjs.ts DEVICE
 */
import { join } from "node:path";
import { tensor, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { openGraphFile } from "../../training/onnx/edge/files.ts";
import { openEngine } from "../../training/onnx/open.ts";
import { loadTfjs, nameOf } from "../../training/tfjs/load.ts";
import { tfjsRuntime } from "../../training/tfjs/runtime.ts";
import { tinyModelDirectory } from "../demo/assets.ts";

export type TfjsAnswer =
  | {
      readonly works: true;
      readonly name: string;
      readonly ms: number;
      readonly broken: readonly { readonly package: string; readonly reason: string }[];
    }
  | { readonly works: false; readonly finding: string; readonly remedy?: string };

async function tryTfjs(device: "cpu" | "cuda"): Promise<TfjsAnswer> {
  const loaded = await loadTfjs(device);
  const runtime = tfjsRuntime(loaded);
  const file = openGraphFile(join(tinyModelDirectory(), "onnx", "vision_encoder.onnx"));
  const engine = await openEngine({ file, lora: [], objective: "none", runtime });
  const side = 32;
  const started = performance.now();
  const inputs = tensorSet([
    ["pixel_values", tensor("F32", [1, 1, 3, side, side], new Float32Array(3 * side * side).fill(0.5))],
    ["pixel_attention_mask", tensor("BOOL", [1, 1, side, side], new Uint8Array(side * side).fill(1))],
  ]);
  await engine.forward({ inputs }, new Map());
  return { works: true, name: nameOf(loaded), ms: performance.now() - started, broken: loaded.broken };
}

const device = process.argv[2];
if (device !== "cpu" && device !== "cuda") throw new TypeError("try-tfjs takes a device: cpu or cuda");
const answer = await tryTfjs(device).catch((error: unknown): TfjsAnswer => {
  const { finding, remedy } = error instanceof FedloomError ? error.details : {};
  return {
    works: false,
    finding: typeof finding === "string" ? finding : messageOf(error),
    ...(typeof remedy === "string" && { remedy }),
  };
});
console.log(JSON.stringify(answer));
