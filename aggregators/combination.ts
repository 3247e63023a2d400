/**
 * Linear combinations of the clients' adapters, Σ c_k w_k: what every rule ends with that decides how much of each
 * client to take. Over factors, A and B are combined apart; over products, the result is the best adapter of the
 * global one's rank for Σ c_k s_k B_k A_k, by QR of the stacked factors: out x in is never built.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { floats } from "../adapters/cast.ts";
import { stackFactors, truncate } from "../adapters/lora-algebra.ts";
import type { Tensor } from "../adapters/tensor.ts";
import { addScaled } from "./differences.ts";
import type { Space } from "./distances.ts";
import { moduleFactors, modulesOf, scaledFactors } from "./modules.ts";
import type { Updates } from "./strategy.ts";
import { like } from "./weighted-mean.ts";

export interface Coefficients {
  /** One for each client; 0 leaves it out. */
  readonly clients: readonly number[];
  /** Of the old global adapter. */
  readonly global: number;
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
    const combined = combineTensor(updates, name, global.tensors.get(name)!, coefficients);
    if (combined !== undefined) tensors.set(name, combined);
  }
  if (space === "factors") return { config: global.config, tensors };
  for (const pair of pairs) {
    const a = global.tensors.get(pair.a)!;
    const b = global.tensors.get(pair.b)!;
    const own = scaledFactors(global.config, pair, a, b);
    const parts = updates.clients.flatMap((_, k) => {
      const share = coefficients.clients[k]!;
      const sent = share === 0 ? undefined : moduleFactors(updates, k, pair);
      return sent === undefined ? [] : [{ factors: sent.factors, share: (share * sent.scale) / own.scale }];
    });
    if (parts.length === 0) continue;
    if (coefficients.global !== 0) parts.unshift({ factors: own.factors, share: coefficients.global });
    const only = parts.length === 1 ? parts[0]! : undefined;
    if (only !== undefined && only.share === 1 && only.factors.a.rows === own.factors.a.rows) {
      // One client taken whole: its own factors, not another pair with the same product.
      tensors.set(pair.a, like(a, only.factors.a.data));
      tensors.set(pair.b, like(b, only.factors.b.data));
      continue;
    }
    const stacked = stackFactors(
      parts.map(({ factors }) => factors),
      parts.map(({ share }) => share),
    );
    const best = truncate(stacked, own.factors.a.rows);
    tensors.set(pair.a, like(a, best.a.data));
    tensors.set(pair.b, like(b, best.b.data));
  }
  return { config: global.config, tensors };
}

function combineTensor(
  updates: Updates,
  name: string,
  old: Tensor,
  { clients, global }: Coefficients,
): Tensor | undefined {
  const sum = Float64Array.from(floats(old), (value) => global * value);
  let isSent = false;
  for (const [k, share] of clients.entries()) {
    const sent = share === 0 ? undefined : updates.tensor(k, name);
    if (sent === undefined) continue;
    isSent = true;
    addScaled(sum, floats(sent), share);
  }
  return isSent ? like(old, sum) : undefined;
}
