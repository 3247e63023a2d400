/** What a LoRA step of a decoder would cost in memory, before anything is run. */

import { float32, type Tensor, tensor, tensorSet } from "../../adapters/tensor.ts";
import { compile } from "./compile.ts";
import { estimateMemory, type MemoryEstimate } from "./estimate.ts";
import { completeInputs, rowBucket } from "./inputs.ts";
import { factorName, withLora } from "./lora.ts";
import type { PreparedGraph } from "./prepare.ts";
import { HEADS } from "./targets/roles.ts";

export interface TrainingShape {
  readonly batch: number;
  readonly length: number;
  /** Labelled tokens of the whole batch. */
  readonly labels: number;
  readonly rank: number;
}

/** LoRA on every linear layer with a path. @returns undefined for graphs that read no tokens */
export function estimateTraining(prepared: PreparedGraph, shape: TrainingShape): MemoryEstimate | undefined {
  const { batch, length, labels, rank } = shape;
  if (prepared.reads !== "tokens") return undefined;
  const pairs = prepared.modules
    .filter(({ path }) => !HEADS.test(path))
    .map((module) => ({ module, spec: { path: module.path, rank, scale: 1 }, call: 0 }));
  const graph = withLora(prepared.graph, pairs);
  const names = new Set(
    pairs.flatMap(({ spec }) => [factorName(spec.path, "A"), factorName(spec.path, "B")]),
  );
  const given = graph.inputs.flatMap(({ name, shape: dims }): [string, Tensor][] => {
    const width = dims[2];
    if (name === "input_ids")
      return [[name, tensor("I64", [batch, length], new BigInt64Array(batch * length))]];
    if (name !== "inputs_embeds" || typeof width !== "number") return [];
    return [[name, float32([batch, length, width], new Float32Array(batch * length * width))]];
  });
  if (given.length === 0) return undefined;
  const inputs = completeInputs(graph, { inputs: tensorSet(given) }, (name) => names.has(name));
  const rows = rowBucket(labels, batch * length);
  const plan = {
    kind: "loss",
    output: prepared.output,
    rows: rows < batch * length ? rows : undefined,
    wanted: [...names],
  } as const;
  return estimateMemory(compile(graph, plan, inputs, new Map()));
}
