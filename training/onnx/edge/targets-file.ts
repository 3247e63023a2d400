/**
 * `fedloom.targets.json` of a model directory: where LoRA targets lie in graphs whose names do not tell.
 * `fedloom model inspect --write-targets` writes one to edit.
 *
 *   { "onnx/model.onnx": { "model.layers.0.self_attn.q_proj": { "node": "MatMul_12", "slice": [0, 64] } } }
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FedloomError, messageOf } from "../../../base/errors.ts";
import type { LinearModule, ModuleLocation } from "../engine.ts";

export const TARGETS_FILE = "fedloom.targets.json";

const location = z.strictObject({ node: z.string(), slice: z.tuple([z.int(), z.int()]).nullish() });
const schema = z.record(z.string(), z.record(z.string(), location));

/** By the graph's path within the directory; empty where there is no file. @throws FedloomError F2110 */
export function readTargets(
  directory: string,
): Readonly<Record<string, Readonly<Record<string, ModuleLocation>>>> {
  const path = join(directory, TARGETS_FILE);
  if (!existsSync(path)) return {};
  try {
    return schema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (cause) {
    throw new FedloomError("F2110", `Cannot read "${path}": ${messageOf(cause)}`, { path }, { cause });
  }
}

/** @returns the path written */
export function writeTargets(
  directory: string,
  graphs: Readonly<Record<string, readonly LinearModule[]>>,
): string {
  const entries = Object.entries(graphs).map(([graph, modules]) => [
    graph,
    Object.fromEntries(modules.map(({ path, node, columns }) => [path, { node, slice: columns ?? null }])),
  ]);
  const path = join(directory, TARGETS_FILE);
  writeFileSync(path, `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`);
  return path;
}
