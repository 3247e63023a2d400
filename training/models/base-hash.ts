/**
 * The hash that names a base model: SHA-256 over its graphs and the weight files they point to.
 *
 * An adapter carries it, so that nobody trains or averages adapters of different bases. It covers what the
 * runtime computes with, not config.json or the tokenizer.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { canonicalJson, sha256 } from "../../base/hash.ts";
import { decodeModel } from "../onnx/format/codec.ts";
import type { ModelDirectory } from "./model-directory.ts";

export async function baseHash({ graphs }: Pick<ModelDirectory, "graphs">): Promise<string> {
  const parts: [string, string][] = [];
  for (const [role, path] of Object.entries(graphs)) {
    parts.push([role, await fileHash(path)]);
    for (const location of await weightFiles(path)) {
      parts.push([`${role}:${location}`, await fileHash(join(dirname(path), location))]);
    }
  }
  return sha256(canonicalJson(parts.sort(([a], [b]) => (a < b ? -1 : 1))));
}

/** Files beside a graph that hold its weights. */
async function weightFiles(path: string): Promise<string[]> {
  const bytes = await readFile(path);
  let initializers: readonly { externalData?: readonly { key?: string; value?: string }[] }[];
  try {
    initializers = decodeModel(bytes).graph?.initializer ?? [];
  } catch (cause) {
    throw new FedloomError("F2110", `Cannot read "${path}": ${messageOf(cause)}`, { path }, { cause });
  }
  const locations = initializers.flatMap(
    (weight) =>
      weight.externalData?.filter(({ key }) => key === "location").map(({ value }) => value ?? "") ?? [],
  );
  return [...new Set(locations)].sort();
}

/**
 * Hashes by path, size, time of change and inode: within one process a file that changed under all four unseen
 * would have to be written in place within a tick of the file system's clock.
 */
const known = new Map<string, string>();

async function fileHash(path: string): Promise<string> {
  try {
    const { size, mtimeMs, ino } = await stat(path);
    const key = `${size}:${mtimeMs}:${ino}:${path}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const hash = createHash("sha256");
    await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash);
    const digest = hash.digest("hex");
    known.set(key, digest);
    return digest;
  } catch (cause) {
    throw new FedloomError("F2101", `Cannot read "${path}": ${messageOf(cause)}`, { path }, { cause });
  }
}
