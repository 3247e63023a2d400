/** Proof of gradients on random input: along a random direction the loss must change as the gradient says. */

import { join } from "node:path";
import { z } from "zod";
import { float32, type Tensor, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import type { Rng } from "../../base/rng.ts";
import { readJson } from "../../training/models/json-file.ts";
import { modelConfig, side } from "../../training/models/model-config.ts";
import type { Composite } from "../../training/onnx/composite.ts";
import type { Batch } from "../../training/onnx/engine.ts";
import { prepareGraph } from "../../training/onnx/prepare.ts";
import type { ModelGraphs } from "./graphs.ts";

export interface Proof {
  readonly loss: number;
  /** Largest relative difference between <gradient, direction> and the central difference. */
  readonly error: number;
  readonly directions: number;
}

/** Length of the step along a direction of unit length: large enough for float32, small enough for curvature. */
const STEP = 8e-3;
const DIRECTIONS = 4;

/**
 * Along d = gradient + noise, both of unit length: never nearly at right angles to the gradient.
 *
 * @param moves says which parameters do
 */
export async function centralDifference(
  model: Composite,
  batch: Batch,
  parameters: TensorSet,
  rng: Rng,
  moves: (name: string) => boolean = () => true,
): Promise<Proof> {
  const { lossSum, labels, gradients: all } = await model.step(batch, parameters);
  const gradients = new Map([...all].filter(([name]) => moves(name)));
  let error = 0;
  for (let i = 0; i < DIRECTIONS; i++) {
    const direction = directionNear(gradients, rng.fork("direction", i));
    const at = async (t: number): Promise<number> => {
      const moved = [...parameters].map(
        ([name, value]) => [name, shifted(value, direction.get(name), t)] as const,
      );
      return (await model.step(batch, tensorSet(moved))).lossSum;
    };
    const slope = async (h: number): Promise<number> => ((await at(h)) - (await at(-h))) / (2 * h);
    // Richardson's extrapolation: the error of a central difference goes with the square of its step.
    const numeric = (4 * (await slope(STEP / 2)) - (await slope(STEP))) / 3;
    const analytic = [...gradients].reduce((sum, [name, g]) => sum + inner(g, direction.get(name)!), 0);
    error = Math.max(error, Math.abs(numeric - analytic) / Math.max(Math.abs(analytic), 1e-6));
  }
  return { loss: lossSum / labels, error, directions: DIRECTIONS };
}

function directionNear(gradients: TensorSet, rng: Rng): ReadonlyMap<string, Float32Array> {
  const noise = new Map(
    [...gradients].map(([name, { data }]) => [name, (data as Float32Array).map(() => rng.normal())]),
  );
  const norm = (values: Iterable<Float32Array>): number =>
    Math.sqrt([...values].reduce((sum, v) => sum + v.reduce((s, x) => s + x * x, 0), 0));
  const gNorm = norm([...gradients.values()].map(({ data }) => data as Float32Array)) || 1;
  const nNorm = norm(noise.values());
  const mixed = [...gradients].map(([name, { data }]) => {
    const n = noise.get(name)!;
    return [name, (data as Float32Array).map((g, i) => (g / gNorm + n[i]! / nNorm) / Math.SQRT2)] as const;
  });
  return new Map(mixed);
}

function shifted(value: Tensor, direction: Float32Array | undefined, t: number): Tensor {
  if (direction === undefined) return value;
  return float32(
    value.shape,
    (value.data as Float32Array).map((v, i) => v + t * direction[i]!),
  );
}

/** LoRA factors of the rank, B away from zero so that A has a gradient too. */
export function randomFactors(
  modules: readonly { readonly path: string; readonly in: number; readonly out: number }[],
  rank: number,
  rng: Rng,
): TensorSet {
  const random = (shape: [number, number], label: string) => {
    const draws = rng.fork("adapter", label);
    // A quarter of what would keep the size of activations: the loss bends less on the way of a difference.
    const spread = 0.25 / Math.sqrt(shape[1]);
    return float32(
      shape,
      Float32Array.from({ length: shape[0] * shape[1] }, () => draws.normal() * spread),
    );
  };
  return tensorSet(
    modules.flatMap(({ path, in: width, out }) => [
      [`base_model.model.${path}.lora_A.weight`, random([rank, width], `${path}.A`)] as const,
      [`base_model.model.${path}.lora_B.weight`, random([out, rank], `${path}.B`)] as const,
    ]),
  );
}

function inner(a: Tensor, b: Float32Array): number {
  return (a.data as Float32Array).reduce((sum, v, i) => sum + v * b[i]!, 0);
}

const sizes = modelConfig.extend({
  vocab_size: z.int().nullish(),
  image_size: side,
  num_channels: z.int().nullish(),
  text_config: z.object({ vocab_size: z.int().nullish() }).nullish(),
});

const BATCH = 2;
const LENGTH = 12;

/** Two short examples: random tokens or embeddings, a random picture where a classifier wants one. */
export async function randomBatch(graphs: ModelGraphs, rng: Rng): Promise<Batch> {
  const config = await readJson(join(graphs.directory, "config.json"), sizes);
  const vocabulary = config.vocab_size ?? config.text_config?.vocab_size ?? 100;
  const { graph } = prepareGraph({ file: graphs.decoder });
  const ids = (count: number, below: number) =>
    BigInt64Array.from({ length: count }, () => BigInt(rng.below(below)));
  const inputs: [string, Tensor][] = [];
  for (const { name, shape } of graph.inputs) {
    if (name === "input_ids")
      inputs.push([name, tensor("I64", [BATCH, LENGTH], ids(BATCH * LENGTH, vocabulary))]);
    if (name !== "inputs_embeds" && name !== "pixel_values") continue;
    const fixed = (axis: number, absent: number): number =>
      typeof shape[axis] === "number" ? shape[axis] : absent;
    const side = config.image_size ?? config.vision_config?.image_size ?? 32;
    const dims =
      name === "inputs_embeds"
        ? [BATCH, LENGTH, fixed(2, 1)]
        : [BATCH, fixed(1, config.num_channels ?? 3), fixed(2, side), fixed(3, side)];
    const count = dims.reduce((n, dim) => n * dim, 1);
    inputs.push([
      name,
      float32(
        dims,
        Float32Array.from({ length: count }, () => rng.normal()),
      ),
    ]);
  }
  if (graphs.objective === "classes")
    return { inputs: tensorSet(inputs), labels: tensor("I64", [BATCH], ids(BATCH, 2)) };
  return {
    inputs: tensorSet(inputs),
    labels: tensor("I64", [BATCH, LENGTH], ids(BATCH * LENGTH, Math.min(vocabulary, 50))),
  };
}
