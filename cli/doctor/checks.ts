/** What `doctor` looks at: each check says what is there or, for a no, why and which command mends it. */
import { existsSync, statfsSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, cpus, platform, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { DEVICES, type Device } from "../trainers.ts";
import { bytes, duration } from "../units.ts";
import type { Check } from "./check.ts";
import { pagesChecks } from "./pages.ts";
import { tryProvider } from "./provider.ts";
import { tfjsChecks } from "./tfjs.ts";

/** Least memory for the demo: a coordinator and four clients, measured at about 250 MiB each. */
const DEMO_MEMORY_BYTES = 1.5 * 2 ** 30;

const require = createRequire(import.meta.url);

export async function allChecks(stateDirectory: string): Promise<Check[]> {
  return [
    nodeCheck(),
    packageCheck("onnxruntime-node", { required: true, what: "training engine" }),
    ...(await Promise.all(DEVICES.map(providerCheck))),
    ...(await tfjsChecks()),
    packageCheck("sharp", { required: true, what: "pictures" }),
    memoryCheck(),
    ...pagesChecks(),
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

async function providerCheck(provider: Device): Promise<Check> {
  const outcome = await tryProvider(provider);
  const check = { name: `device ${provider}`, required: provider === "cpu" };
  if (!outcome.works) {
    const { finding, remedy } = outcome;
    return { ...check, ok: false, finding, ...(remedy === undefined ? {} : { remedy }) };
  }
  return { ...check, ok: true, finding: `ran the shipped vision encoder in ${duration(outcome.ms)}` };
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
