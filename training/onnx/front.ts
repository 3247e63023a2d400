/**
 * The frozen part in front of the lowest trained layer. What enters that layer follows from frozen weights and from the
 * example alone, so that it can be computed once an example; a step that is given it begins there.
 *
 *   embeddings  ->  frozen layers  ->  x [B, T, H]  ->  layers with something trained  ->  loss
 */
import { sizeOf } from "../../adapters/tensor.ts";
import type { Graph } from "./graph.ts";
import type { Operation, Value } from "./program.ts";

/** Where the frozen part may end. */
export interface FrontEnd {
  /** [B, T, H], the only value of the stream that anything behind it reads. */
  readonly value: Value;
  /** The same for every shape of batch: source node and operator of the operation that gives it. */
  readonly place: string;
  /** Multiplications with weights up to here, of all that lead to the output. */
  readonly share: number;
}

/**
 * A step without its front takes 2 (1 - share) of 2 - share times a forward pass, because nothing below the lowest trained
 * layer is computed on the way back anyway: from here on more than 6 % are spared.
 */
export const LEAST_SHARE = 1 / 8;

/** Thrown where a graph has no such part, or not at the place that was named. */
export class NoFront extends Error {}

/**
 * The ends that the frozen part may have, the last one last.
 *
 * @param operations that lead to an output, in topological order
 * @param starts what the stream begins with: embeddings, or the pixels of a picture
 * @param trained parameters, and inputs whose gradient is wanted
 */
export function frontEnds(
  operations: readonly Operation[],
  starts: readonly Value[],
  trained: Iterable<Value>,
): readonly FrontEnd[] {
  const lastRead = new Map<Value, number>();
  operations.forEach(({ inputs }, at) => {
    for (const input of inputs) if (input) lastRead.set(input, at);
  });
  const batch = starts[0]?.shape[0];
  const named = Map.groupBy(operations, placeOf);
  const moving = new Set(trained);
  const stream = new Set(starts);
  const open = new Set(starts);
  const ends: { value: Value; place: string; cost: number }[] = [];
  let cost = 0;
  let isFrozen = true;
  operations.forEach((operation, at) => {
    const { inputs, outputs } = operation;
    const moves = inputs.some((input) => input !== undefined && moving.has(input));
    if (moves) for (const output of outputs) moving.add(output);
    if (!inputs.some((input) => input !== undefined && stream.has(input))) return;
    cost += costOf(operation);
    for (const output of outputs) {
      stream.add(output);
      if (lastRead.has(output)) open.add(output);
    }
    for (const input of inputs) if (input && lastRead.get(input) === at) open.delete(input);
    isFrozen &&= !moves;
    const [single, ...others] = open;
    if (!isFrozen || single === undefined || others.length > 0 || single !== outputs[0]) return;
    const place = placeOf(operation);
    const isStream = single.shape.length === 3 && single.shape[0] === batch && isFloat.test(single.type);
    if (isStream && named.get(place)!.length === 1) ends.push({ value: single, place, cost });
  });
  return ends.map(({ value, place, cost: own }) => ({ value, place, share: own / cost }));
}

/**
 * The products of a graph with weights that nothing trained lies before, about: told without shapes and at once, so that
 * nothing is compiled where all layers are trained.
 *
 * @returns their share of all such products, and how many weights they multiply with
 */
export function frozenPart(
  { nodes, weights }: Graph,
  parameters: Iterable<string>,
): { readonly share: number; readonly weights: number } {
  const moving = new Set(parameters);
  const sizes = new Map([...weights].map(([name, { shape }]) => [name, sizeOf(shape)]));
  let [frozen, all, multiplied] = [0, 0, 0];
  for (const { op, inputs, outputs } of nodes) {
    const moves = inputs.some((name) => moving.has(name));
    if (moves) for (const name of outputs) moving.add(name);
    const given = inputs.map((name) => sizes.get(name));
    // A weight may be unpacked from few bits, or turned.
    if (given.every((size) => size !== undefined))
      for (const name of outputs) sizes.set(name, Math.max(0, ...given));
    else if (PRODUCTS.has(op) && given[1] !== undefined) {
      all++;
      if (moves) continue;
      frozen++;
      multiplied += given[1];
    }
  }
  return { share: all === 0 ? 0 : frozen / all, weights: multiplied };
}

const PRODUCTS = new Set(["MatMul", "Gemm", "FusedMatMul", "MatMulNBits", "MatMulBnb4", "Conv"]);

const isFloat = /^F(16|32)$/;

const placeOf = ({ name, op }: Operation): string => `${name} ${op}`;

/** Multiplications of a product with a weight, and about as many of a convolution. */
function costOf({ inputs, outputs }: Operation): number {
  const weight = inputs.find((input) => input?.weight !== undefined && input.shape.length > 1);
  return weight === undefined ? 0 : sizeOf(weight.shape) * sizeOf(outputs[0]!.shape.slice(0, -1));
}
