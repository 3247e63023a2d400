/**
 * Adapters with a core: between the factors of a module stands a small matrix R [r, r], W = W0 + s B R A, which is
 * all that Fed-SB trains. PEFT knows no such matrix; folded into B, the adapter is an ordinary one with the same
 * product.
 *
 * Source: Singhal et al. 2025, https://arxiv.org/abs/2502.15436
 */
import type { Adapter } from "./adapter.ts";
import { isFloat } from "./cast.ts";
import { matrixOf, multiply, tensorOf } from "./matrix.ts";
import { type Tensor, type TensorSet, tensorSet } from "./tensor.ts";
import { formatName, parseName } from "./tensor-names.ts";

/** Names of one module's factor B and its core. */
export interface CorePair {
  readonly b: string;
  readonly core: string;
}

export function corePairs(names: Iterable<string>): CorePair[] {
  const pairs: CorePair[] = [];
  for (const core of names) {
    const name = parseName(core);
    if (name?.part === "lora_R") pairs.push({ b: formatName({ ...name, part: "lora_B" }), core });
  }
  return pairs;
}

/** B R in place of each B that has a core R; tensors without one stay as they are. */
export function foldCore(tensors: TensorSet): TensorSet {
  const pairs = corePairs(tensors.keys());
  if (pairs.length === 0) return tensors;
  const folded = new Map(pairs.map(({ b, core }) => [b, product(tensors.get(b)!, tensors.get(core)!)]));
  const cores = new Set(pairs.map(({ core }) => core));
  return tensorSet(
    [...tensors].flatMap(([name, own]) =>
      cores.has(name) ? [] : [[name, folded.get(name) ?? own] as const],
    ),
  );
}

export function withoutCore({ config, tensors }: Adapter): Adapter {
  return { config, tensors: foldCore(tensors) };
}

function product(b: Tensor, core: Tensor): Tensor {
  if (!isFloat(b.dtype)) throw new TypeError(`A factor holds floats, got ${b.dtype}`);
  return tensorOf(multiply(matrixOf(b), matrixOf(core)), b.dtype);
}
