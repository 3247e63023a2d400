/** A batch made ready for a graph: inputs that follow from others, symbols of shapes, labels by row. */
import { sizeOf, type Tensor, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import type { Batch } from "./engine.ts";
import { fitInput } from "./fit-inputs.ts";
import type { Graph, GraphInput } from "./graph.ts";

const isCache = (name: string): boolean => /^past/.test(name);

/**
 * All inputs of the graph in its types: those given, position_ids and attention_mask where they follow, caches of length 0.
 * Positions on several axes [axes, B, S] follow where all axes count tokens, as they do in text.
 *
 * @throws FedloomError F2114 where one is missing or has another type or shape than the graph states
 */
export function completeInputs(
  graph: Graph,
  batch: Batch,
  isParameter: (name: string) => boolean,
): TensorSet {
  const given = new Map(batch.inputs);
  const wanted = graph.inputs.filter((input) => !isParameter(input.name));
  const ids = given.get("input_ids") ?? given.get("inputs_embeds");
  if (!given.has("attention_mask") && ids !== undefined)
    given.set(
      "attention_mask",
      int64(ids.shape.slice(0, 2), () => 1),
    );
  const mask = given.get("attention_mask");
  if (!given.has("position_ids") && mask !== undefined) {
    const [axes] =
      wanted.find(({ name, shape }) => name === "position_ids" && shape.length === 3)?.shape ?? [];
    given.set("position_ids", positionsOf(mask, axes));
  }
  if (!given.has("token_type_ids") && ids !== undefined)
    given.set(
      "token_type_ids",
      int64(ids.shape.slice(0, 2), () => 0),
    );

  const symbols = new Map<string, number>();
  for (const input of wanted) {
    const value = given.get(input.name);
    if (value === undefined) continue;
    const fitted = fitInput(value, input.type);
    bindSymbols(input, fitted, symbols);
    given.set(input.name, fitted);
  }
  return tensorSet(
    wanted.map((input) => {
      const value = given.get(input.name) ?? (isCache(input.name) ? emptyCache(input, symbols) : undefined);
      if (value === undefined) throw missing(input, batch);
      return [input.name, value];
    }),
  );
}

function int64(shape: readonly number[], value: (index: number) => number): Tensor {
  return tensor(
    "I64",
    shape,
    BigInt64Array.from({ length: sizeOf(shape) }, (_, i) => BigInt(value(i))),
  );
}

/** Cumulative mask - 1; filling positions keep the last one's, which nothing reads. */
function positionsOf(mask: Tensor, axes?: number | string): Tensor {
  const length = mask.shape[1]!;
  const size = sizeOf(mask.shape);
  const shape = axes === undefined ? mask.shape : [typeof axes === "number" ? axes : AXES, ...mask.shape];
  let sum = 0;
  return int64(shape, (i) => {
    if (i % length === 0) sum = 0;
    sum += Number(mask.data[i % size]!);
    return Math.max(0, sum - 1);
  });
}

/** Time, height and width: what models with several axes count, where the graph does not state it. */
const AXES = 3;

function bindSymbols(input: GraphInput, value: Tensor, symbols: Map<string, number>): void {
  const wanted = `[${input.shape.join(", ")}]`;
  if (value.dtype !== input.type || value.shape.length !== input.shape.length)
    throw unfit(input, value, wanted);
  input.shape.forEach((dim, axis) => {
    const own = value.shape[axis]!;
    if (typeof dim === "number") {
      if (dim !== own) throw unfit(input, value, wanted);
    } else if (!symbols.has(dim)) symbols.set(dim, own);
  });
}

function unfit(input: GraphInput, value: Tensor, wanted: string): FedloomError {
  return new FedloomError(
    "F2114",
    `Cannot use input "${input.name}": it must be ${input.type} ${wanted}, got ${value.dtype} [${value.shape.join(", ")}]`,
    { input: input.name },
  );
}

/** [batch, heads, 0, size]: the dimension that no other input shares is the length of the past. */
function emptyCache(input: GraphInput, symbols: ReadonlyMap<string, number>): Tensor {
  const shape = input.shape.map((dim) =>
    typeof dim === "number" ? dim : /past|cache|total/.test(dim) ? 0 : (symbols.get(dim) ?? 0),
  );
  return tensor(
    input.type === "F16" ? "F16" : "F32",
    shape,
    input.type === "F16" ? new Uint16Array(0) : new Float32Array(0),
  );
}

function missing(input: GraphInput, batch: Batch): FedloomError {
  const given = [...batch.inputs.keys()].map((name) => `"${name}"`).join(", ");
  return new FedloomError(
    "F2114",
    `Cannot run the graph: it wants input "${input.name}" ${input.type} [${input.shape.join(", ")}], got ${given || "none"}`,
    { input: input.name },
  );
}

/** Labels by row of the logits, without those that say there is none (-100). */
export interface LabelledRows {
  readonly rows: readonly number[];
  readonly labels: readonly bigint[];
}

/** @throws FedloomError F2114 where labels are missing or of the wrong shape */
export function labelledRows(batch: Batch, objective: "tokens" | "classes"): LabelledRows {
  const { labels } = batch;
  const rank = objective === "tokens" ? 2 : 1;
  if (labels?.dtype !== "I64" || labels.shape.length !== rank)
    throw new FedloomError(
      "F2114",
      `Cannot use labels: they must be I64 of ${rank} dimensions, got ${labels ? `${labels.dtype} [${labels.shape.join(", ")}]` : "none"}`,
    );
  const values = labels.data as BigInt64Array; // dtype I64
  const length = objective === "tokens" ? labels.shape[1]! : 1;
  const rows: number[] = [];
  const kept: bigint[] = [];
  values.forEach((label, at) => {
    if (label === -100n) return;
    // The first position of an example is predicted by nothing.
    if (objective === "tokens" && at % length === 0) return;
    rows.push(objective === "tokens" ? at - 1 : at);
    kept.push(label);
  });
  return { rows, labels: kept };
}

/** The smallest share of a batch's rows that is told apart. */
const SMALLEST_SHARE = 1 / 16;

/**
 * How many rows are computed for `count` that are wanted of `total`: a half, a quarter and so on of all. Rows beyond
 * cost a little at the end of the graph; each other number of rows would cost another session.
 */
export function rowBucket(count: number, total: number): number {
  let share = 1;
  while (share > SMALLEST_SHARE && count <= (total * share) / 2) share /= 2;
  return Math.min(total, Math.max(8, Math.ceil(total * share)));
}
