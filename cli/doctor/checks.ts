/** What `doctor` looks at: each check says what is there or, for a no, why and which command mends it. */
import { spawn } from "node:child_process";
import { existsSync, statfsSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, cpus, platform, totalmem } from "node:os";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf } from "../../base/errors.ts";
import { demoModelDirectory } from "../demo/assets.ts";
import { bytes, duration } from "../units.ts";

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** Without it fedloom cannot work at all. */
  readonly required: boolean;
  /** The version or amount found, or why it is a no. */
  readonly finding: string;
  /** The exact command that mends a no, where there is one. */
  readonly remedy?: string;
}

/** Least memory for the demo: a coordinator and four clients, measured at about 250 MiB each. */
const DEMO_MEMORY_BYTES = 1.5 * 2 ** 30;
/** A provider that starts takes a second or two; one that hangs is given up. */
const PROVIDER_TIMEOUT_MS = 60_000;

const require = createRequire(import.meta.url);

export async function allChecks(stateDirectory: string): Promise<Check[]> {
  return [
    nodeCheck(),
    packageCheck("onnxruntime-node", { required: true, what: "training engine" }),
    await providerCheck("cpu"),
    await providerCheck("cuda"),
    await providerCheck("webgpu"),
    packageCheck("@tensorflow/tfjs", { required: false, what: "trainer tfjs" }),
    packageCheck("sharp", { required: true, what: "pictures" }),
    memoryCheck(),
    diskCheck(stateDirectory),
  ];
}

function nodeCheck(): Check {
  const wanted = 24;
  const ok = Number(process.versions.node.split(".")[0]) >= wanted;
  return {
    name: "node",
    ok,
    required: true,
    finding: `${process.versions.node} on ${platform()} ${arch()}, ${cpus().length} cores${ok ? "" : `; ${wanted} or newer is wanted`}`,
    ...(ok ? {} : { remedy: `npm install node-${platform()}-${arch()}@${wanted}` }),
  };
}

function packageCheck(name: string, { required, what }: { required: boolean; what: string }): Check {
  try {
    const version = versionOf(name);
    return { name, ok: true, required, finding: `${version} (${what})` };
  } catch {
    return { name, ok: false, required, finding: `not installed (${what})`, remedy: `npm install ${name}` };
  }
}

/** A package's version, also where its exports hide package.json. */
function versionOf(name: string): string {
  for (
    let directory = dirname(require.resolve(name));
    directory !== dirname(directory);
    directory = dirname(directory)
  ) {
    const path = join(directory, "package.json");
    if (!existsSync(path)) continue;
    const parsed: unknown = require(path);
    if (
      typeof parsed === "object" &&
      parsed !== null &&
      "name" in parsed &&
      parsed.name === name &&
      "version" in parsed
    ) {
      return String(parsed.version);
    }
  }
  throw new TypeError(`Package "${name}" has no package.json with its name`);
}

async function providerCheck(provider: "cpu" | "cuda" | "webgpu"): Promise<Check> {
  const name = `device ${provider}`;
  const required = provider === "cpu";
  const outcome = await tryProvider(provider);
  if (outcome.works)
    return { name, ok: true, required, finding: `ran the shipped vision encoder in ${duration(outcome.ms)}` };
  return { name, ok: false, required, ...explained(provider, outcome.reason) };
}

type Outcome = { works: true; ms: number } | { works: false; reason: string };

function tryProvider(provider: string): Promise<Outcome> {
  const script = fileURLToPath(new URL(`./try-provider${extname(import.meta.url)}`, import.meta.url));
  const graph = join(demoModelDirectory(), "onnx", "vision_encoder.onnx");
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, provider, graph], {
      timeout: PROVIDER_TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.on("error", (error) => resolve({ works: false, reason: messageOf(error) }));
    child.on("close", (code, signal) => {
      const said = outcomeFrom(stdout.trim().split("\n").at(-1) ?? "");
      if (said?.works) resolve(said);
      else
        resolve({
          works: false,
          reason: [said?.reason ?? `ended with ${signal ?? code}`, stderr].join("\n"),
        });
    });
  });
}

function outcomeFrom(line: string): Outcome | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** The runtime's own words, long and full of its source paths, as one short reason and a remedy. */
function explained(provider: string, reason: string): { finding: string; remedy?: string } {
  if (
    provider === "cuda" &&
    /libonnxruntime_providers_(shared|cuda)/.test(reason) &&
    /No such file/.test(reason)
  ) {
    if (platform() !== "linux" || arch() !== "x64") {
      return {
        finding: `onnxruntime-node has no CUDA provider for ${platform()} ${arch()}; use --device webgpu`,
      };
    }
    const missing = /: (lib(?:cu|nv)[\w.-]+\.so[\d.]*): cannot open/.exec(reason)?.[1];
    if (missing !== undefined) {
      return {
        finding: `${missing} is missing: the CUDA 12 runtime and cuDNN 9 are wanted`,
        remedy: "apt-get install cuda-libraries-12-8 libcudnn9-cuda-12",
      };
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
  if (/CUDA driver|no CUDA-capable device/i.test(reason))
    return { finding: "no CUDA device or driver; see nvidia-smi" };
  const first = reason.split("\n").find((line) => line.trim() !== "") ?? "it gave no reason";
  return { finding: first.length > 160 ? `${first.slice(0, 160)}...` : first };
}

function memoryCheck(): Check {
  const free = process.availableMemory();
  const total =
    process.constrainedMemory() > 0 ? Math.min(process.constrainedMemory(), totalmem()) : totalmem();
  const ok = free >= DEMO_MEMORY_BYTES;
  return {
    name: "memory",
    ok,
    required: false,
    finding: `${bytes(free)} free of ${bytes(total)}${ok ? "" : `; the demo wants ${bytes(DEMO_MEMORY_BYTES)}`}`,
  };
}

function diskCheck(directory: string): Check {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  const ok = free >= 2 ** 30;
  return {
    name: "disk",
    ok,
    required: false,
    finding: `${bytes(free)} free in ${directory}${ok ? "" : "; 1 GiB is wanted"}`,
  };
}
