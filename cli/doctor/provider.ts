/** Whether an execution provider works here: tried in a process of its own, and its "no" explained. */
import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { dirname, join, relative } from "node:path";
import { FedloomError } from "../../base/errors.ts";
import { tinyModelDirectory } from "../demo/assets.ts";
import type { Device } from "../trainers.ts";
import { attempt } from "./attempt.ts";

export type ProviderOutcome =
  | { readonly works: true; readonly ms: number }
  | { readonly works: false; readonly finding: string; readonly remedy?: string };

const require = createRequire(import.meta.url);

/** @throws FedloomError F1005 with the reason and the command that mends it; the CPU is always there */
export async function requireDevice(device: Device): Promise<void> {
  if (device === "cpu") return;
  const outcome = await tryProvider(device);
  if (outcome.works) return;
  const remedy = outcome.remedy === undefined ? "" : `; run "${outcome.remedy}"`;
  throw new FedloomError("F1005", `Cannot use device "${device}": ${outcome.finding}${remedy}`, { device });
}

export async function tryProvider(provider: Device): Promise<ProviderOutcome> {
  const graph = join(tinyModelDirectory(), "onnx", "vision_encoder.onnx");
  const { answer, end, stderr } = await attempt<Answer>("try-provider", [provider, graph]);
  if (answer?.works === true) return { works: true, ms: answer.ms ?? 0 };
  return { works: false, ...explained(provider, [answer?.reason ?? end, stderr].join("\n")) };
}

interface Answer {
  readonly works: boolean;
  readonly ms?: number;
  readonly reason?: string;
}

/** The runtime's own words, long and full of its source paths, as one short reason and a remedy. */
function explained(provider: Device, reason: string): { finding: string; remedy?: string } {
  if (provider === "cuda" && /libonnxruntime_providers_(shared|cuda)/.test(reason)) {
    const missing = /: (lib(?:cu|nv)[\w.-]+\.so[\d.]*): cannot open/.exec(reason)?.[1];
    if (missing !== undefined) {
      return {
        finding: `${missing} is missing: the CUDA 12 runtime and cuDNN 9 are wanted`,
        remedy: "apt-get install cuda-libraries-12-8 libcudnn9-cuda-12",
      };
    }
    if (platform() !== "linux" || arch() !== "x64") {
      return { finding: `onnxruntime-node has no CUDA provider for ${platform()} ${arch()}; use webgpu` };
    }
    const script = join(dirname(require.resolve("onnxruntime-node")), "..", "script", "install.js");
    return {
      finding: "the CUDA provider is not installed: npm leaves it out while install scripts are off",
      remedy: `node ${relative(process.cwd(), script)} --onnxruntime-node-install=cuda12`,
    };
  }
  if (provider === "webgpu" && /libvulkan/.test(reason)) {
    return {
      finding: "no Vulkan loader (libvulkan.so.1)",
      remedy: "apt-get install libvulkan1 mesa-vulkan-drivers",
    };
  }
  if (provider === "webgpu" && /No supported adapters/.test(reason)) {
    return {
      finding: "a Vulkan loader is there, but no driver for a graphics card; install the card's driver",
    };
  }
  if (/CUDA driver|no CUDA-capable device/i.test(reason)) {
    return { finding: "no CUDA device or driver; see nvidia-smi" };
  }
  const first = reason.split("\n").find((line) => line.trim() !== "") ?? "it gave no reason";
  return { finding: first.length > 160 ? `${first.slice(0, 160)}...` : first };
}
