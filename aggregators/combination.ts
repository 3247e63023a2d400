/**
 * Linear combinations of the clients' adapters, Σ c_k w_k: what every rule ends with that decides how much of each
 * client to take. Over factors, A and B are combined apart; over products, the result is the best adapter of the
 * global one's rank for Σ c_k s_k B_k A_k (truncated-sum.ts): out x in is never built.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { floats } from "../adapters/cast.ts";
import type { Factors } from "../adapters/lora-algebra.ts";
import type { Tensor } from "../adapters/tensor.ts";
import type { FactorPair } from "../adapters/tensor-names.ts";
import { addScaled } from "./differences.ts";
import type { Space } from "./distances.ts";
import { moduleFactors, modulesOf, scaledFactors } from "./modules.ts";
import type { Updates } from "./strategy.ts";
import { truncatedSum } from "./truncated-sum.ts";
import { like, meanOf } from "./weighted-mean.ts";
import { sum } from "./weights.ts";

export interface Coefficients {
  /** One for each client; 0 leaves it out. */
  readonly clients: readonly number[];
  /** Of the old global adapter. Where it is 0, the others are normalized over the clients that have the tensor. */
  readonly global: number;
  /** Products end as factors in the order of their singular values, also where one client is taken whole. */
  readonly ordered?: boolean;
}

/** @returns the new global adapter; a tensor that no counted client sent keeps its value */
export function combine(
  global: Adapter,
  updates: Updates,
  coefficients: Coefficients,
  space: Space,
): Adapter {
  const { pairs, others } = modulesOf(global.tensors.keys());
  const tensors = new Map(global.tensors);
  for (const name of space === "factors" ? global.tensors.keys() : others) {
    const old = global.tensors.get(name)!;
    const values = combineTensor(updates, name, old, coefficients);
    if (values !== undefined) tensors.set(name, like(old, values));
  }
  if (space === "products") {
    for (const pair of pairs) {
      const combined = combineModule(global, updates, pair, coefficients);
      if (combined === undefined) continue;
      tensors.set(pair.a, like(global.tensors.get(pair.a)!, combined.a.data));
      tensors.set(pair.b, like(global.tensors.get(pair.b)!, combined.b.data));
    }
  }
  return { config: global.config, tensors };
}

function combineTensor(
  updates: Updates,
  name: string,
  old: Tensor,
  { clients, global }: Coefficients,
): Float64Array | undefined {
  if (global === 0) return meanOf(updates, name, clients);
  const sum = Float64Array.from(floats(old), (value) => global * value);
  for (const [k, share] of clients.entries()) {
    const sent = share === 0 ? undefined : updates.tensor(k, name);
    if (sent !== undefined) addScaled(sum, floats(sent), share);
  }
  return sum;
}

function combineModule(
  { config, tensors }: Adapter,
  updates: Updates,
  pair: FactorPair,
  coefficients: Coefficients,
): Factors | undefined {
  const own = scaledFactors(config, pair, tensors.get(pair.a)!, tensors.get(pair.b)!);
  const rank = own.factors.a.rows;
  const sent = updates.clients.flatMap((_, k) => {
    const weight = coefficients.clients[k]!;
    const part = weight === 0 ? undefined : moduleFactors(updates, k, pair);
    return part === undefined ? [] : [{ ...part, weight }];
  });
  if (sent.length === 0) return undefined;
  const total = coefficients.global === 0 ? sum(sent.map(({ weight }) => weight)) : 1;
  const parts = sent.map(({ factors, weight, scale }) => ({
    factors,
    share: (weight / total) * (scale / own.scale),
  }));
  const [first] = parts;
  if (
    parts.length === 1 &&
    coefficients.global === 0 &&
    coefficients.ordered !== true &&
    first!.share === 1 &&
    first!.factors.a.rows === rank
  ) {
    return first!.factors; // one client taken whole: its own factors, not another pair with the same product
  }
  if (coefficients.global !== 0) parts.unshift({ factors: own.factors, share: coefficients.global });
  return truncatedSum(
    parts.map(({ factors }) => factors),
    parts.map(({ share }) => share),
    rank,
  );
}
