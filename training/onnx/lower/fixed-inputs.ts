/**
 * Inputs that training always gives one value: `use_cache_branch` of merged decoders is false, and of the logits all are
 * kept (0 in `num_logits_to_keep` says so), because labels tell which are wanted.
 */
import type { GraphInput } from "../graph.ts";
import { type Weight, weightOf } from "../weight.ts";

const NAMES = new Set(["use_cache_branch", "num_logits_to_keep", "logits_to_keep"]);

export const isFixedInput = ({ name }: Pick<GraphInput, "name">): boolean => NAMES.has(name);

/** The values of those that there are, in the shape that the graph states. */
export function fixedInputs(inputs: readonly GraphInput[]): ReadonlyMap<string, Weight> {
  return new Map(
    inputs.filter(isFixedInput).map(({ name, type, shape }) => {
      const dims = shape.map((dim) => (typeof dim === "number" ? dim : 1));
      const count = dims.reduce((product, dim) => product * dim, 1);
      const data = type === "BOOL" ? new Uint8Array(count) : new BigInt64Array(count);
      return [name, weightOf(type === "BOOL" ? "BOOL" : "I64", dims, data)];
    }),
  );
}
