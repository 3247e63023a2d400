/** A checkpoint of pretraining as one safetensors file, replaced whole so that a killed process leaves the last good one. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { layoutOf, openSafetensors, saveSafetensors } from "../../adapters/safetensors.ts";
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { type Checkpoint, STAGES } from "./course.ts";

const FILE = "checkpoint.safetensors";
const WEIGHT = "weight/";
const OPTIMIZER = "optimizer/";

export function saveCheckpoint(folder: string, { stage, step, weights, optimizer }: Checkpoint): void {
  const named = (prefix: string, set: TensorSet) =>
    [...set].map(([name, value]) => [prefix + name, value] as const);
  const tensors = tensorSet([...named(WEIGHT, weights), ...named(OPTIMIZER, optimizer)]);
  saveSafetensors(join(folder, FILE), layoutOf(tensors), (name) => tensors.get(name)!, {
    stage,
    step: String(step),
  });
}

/** @returns undefined where the folder holds none */
export function readCheckpoint(folder: string): Checkpoint | undefined {
  const path = join(folder, FILE);
  if (!existsSync(path)) return undefined;
  const file = openSafetensors(path);
  try {
    const part = (prefix: string): TensorSet =>
      tensorSet(
        file.names
          .filter((name) => name.startsWith(prefix))
          .map((name) => [name.slice(prefix.length), file.read(name)]),
      );
    const stage = STAGES.find((known) => known === file.metadata.stage);
    if (stage === undefined) throw new TypeError(`"${path}" is of no stage that pretraining knows`);
    return { stage, step: Number(file.metadata.step), weights: part(WEIGHT), optimizer: part(OPTIMIZER) };
  } finally {
    file.close();
  }
}
