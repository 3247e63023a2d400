/**
 * Which tfjs is there. Nothing of it is a dependency of fedloom: it is loaded when the trainer is asked for, and of
 * several packages the fastest that works on the device is taken.
 */
import { createRequire } from "node:module";
import { FedloomError, messageOf } from "../../base/errors.ts";
import type { Device } from "../onnx/runtime.ts";
import type { Tf } from "./kernels/kernel.ts";

/** The names by which tfjs knows its backends: TensorFlow's C library, WebAssembly, JavaScript. */
export type Backend = "tensorflow" | "wasm" | "cpu";

export interface LoadedTfjs {
  readonly tf: Tf;
  readonly package: string;
  readonly version: string;
  readonly backend: Backend;
  /** Packages that are installed and do not work here, and why. */
  readonly broken: readonly { readonly package: string; readonly reason: string }[];
}

interface Candidate {
  readonly package: string;
  readonly backend: Backend;
  load(device: Device, threads: number | undefined): Promise<Tf>;
}

const require = createRequire(import.meta.url);

const CANDIDATES: Readonly<Record<Device, readonly Candidate[]>> = {
  cuda: [native("@tensorflow/tfjs-node-gpu")],
  cpu: [
    native("@tensorflow/tfjs-node"),
    native("@tensorflow/tfjs-node-gpu"),
    { package: "@tensorflow/tfjs-backend-wasm", backend: "wasm", load: loadWasm },
    { package: "@tensorflow/tfjs", backend: "cpu", load: () => loadPlain("cpu") },
  ],
  webgpu: [],
};

/** What makes the trainer work on a device. Install scripts bring the C library, and fedloom's own setup turns them off. */
const INSTALL = {
  cuda: "npm install --save-optional @tensorflow/tfjs-node-gpu --ignore-scripts=false",
  cpu: "npm install @tensorflow/tfjs @tensorflow/tfjs-backend-wasm",
} as const;

/** What tfjs-node 4.22 was built for: TensorFlow 2.9. */
const NO_GPU = "TensorFlow finds no GPU; it wants the driver, CUDA 11 and cuDNN 8";

/** "@tensorflow/tfjs-node 4.22.0, backend tensorflow". */
export const nameOf = ({ package: name, version, backend }: Omit<LoadedTfjs, "tf" | "broken">): string =>
  `${name} ${version}, backend ${backend}`;

export interface LoadOptions {
  /** Of TensorFlow's C library, once for the whole process; WebAssembly and JavaScript have one. */
  readonly threads?: number | undefined;
  /** Where a package lies; throws where it is not installed. */
  readonly find?: (name: string) => string;
}

/** @throws FedloomError F1005 where no package is installed or none works, with the command that mends it */
export async function loadTfjs(
  device: Device,
  { threads, find = require.resolve }: LoadOptions = {},
): Promise<LoadedTfjs> {
  if (device === "webgpu")
    throw new FedloomError(
      "F1005",
      'Cannot load the tfjs trainer for device "webgpu": under Node tfjs has "cpu" and "cuda"; "--trainer onnx" has it',
      { device },
    );
  const broken: { package: string; reason: string }[] = [];
  for (const { package: name, backend, load } of CANDIDATES[device].filter((one) => isInstalled(one, find))) {
    try {
      const tf = await load(device, threads);
      tf.enableProdMode(); // without it tfjs advertises its other packages on the screen
      return { tf, package: name, version: versionOf(name), backend, broken };
    } catch (cause) {
      broken.push({ package: name, reason: messageOf(cause).split("\n")[0]! });
    }
  }
  const { finding, remedy } = whyNot(device, broken);
  throw new FedloomError("F1005", `Cannot load the tfjs trainer: ${finding}; run "${remedy}"`, {
    device,
    finding,
    remedy,
  });
}

function whyNot(device: "cpu" | "cuda", [first]: LoadedTfjs["broken"]): { finding: string; remedy: string } {
  const wanted = device === "cuda" ? "@tensorflow/tfjs-node-gpu" : "@tensorflow/tfjs";
  if (first === undefined)
    return { finding: `package "${wanted}" is not installed`, remedy: INSTALL[device] };
  const finding = `package "${first.package}" does not work: ${first.reason}`;
  if (first.reason === NO_GPU) return { finding, remedy: "nvidia-smi" };
  const lacksLibrary = /tfjs_binding|native addon|libtensorflow/.test(first.reason);
  return {
    finding,
    remedy: lacksLibrary ? `npm rebuild ${first.package} --ignore-scripts=false` : INSTALL[device],
  };
}

function isInstalled({ package: name }: Candidate, find: (name: string) => string): boolean {
  try {
    // The WebAssembly backend stands beside the package with the operators.
    for (const needed of [name, ...(name.startsWith("@tensorflow/tfjs-node") ? [] : ["@tensorflow/tfjs"])])
      find(needed);
    return true;
  } catch {
    return false;
  }
}

/** TensorFlow's C library. On the CPU it must not find a GPU: what was asked for is what is used. */
function native(name: string): Candidate {
  return {
    package: name,
    backend: "tensorflow",
    async load(device, threads) {
      restoreNullCheck();
      process.env.TF_CPP_MIN_LOG_LEVEL ??= "2"; // errors alone: its news would stand between the lines of a log
      if (threads !== undefined) process.env.TF_NUM_INTRAOP_THREADS = String(threads);
      if (device === "cpu") process.env.CUDA_VISIBLE_DEVICES = "-1";
      const { default: tf } = await import(name);
      const { isUsingGpuDevice } = tf.backend();
      if (device === "cuda" && isUsingGpuDevice !== true) throw new Error(NO_GPU);
      return tf;
    },
  };
}

/** Node 23 removed util.isNullOrUndefined; tfjs-node 4.22 calls it in every operation. */
function restoreNullCheck(): void {
  const util = require("node:util");
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
}

async function loadPlain(backend: "wasm" | "cpu"): Promise<Tf> {
  const tf = await import("@tensorflow/tfjs");
  if (await tf.setBackend(backend)) return tf;
  throw new Error(`backend "${backend}" does not start`);
}

async function loadWasm(): Promise<Tf> {
  const events = ["uncaughtException", "unhandledRejection"] as const;
  const before = new Set(events.flatMap((event) => process.listeners(event as "uncaughtException")));
  await import("@tensorflow/tfjs-backend-wasm");
  const tf = await loadPlain("wasm");
  // The compiled code takes over what the process does with errors that nobody caught; that is not its business.
  for (const event of events)
    for (const listener of process.listeners(event as "uncaughtException"))
      if (!before.has(listener)) process.removeListener(event, listener);
  return tf;
}

/** A package's version; its exports may hide package.json. */
function versionOf(name: string): string {
  const path = require.resolve(name);
  const root = path.slice(0, path.lastIndexOf(`${name}/`) + name.length);
  return String(require(`${root}/package.json`).version);
}
