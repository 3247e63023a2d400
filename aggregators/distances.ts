/**
 * Squared distances between the clients' adapters, summed over all tensors.
 *
 *   ||x_i − x_j||² = ||d_i||² + ||d_j||² − 2 ⟨d_i, d_j⟩      d_k = w_k − w, in float64
 *
 * Differences from the global adapter are taken first, which is exact in float64, and only these small numbers are
 * squared. The same form of the weights themselves in float32 loses updates of 1e-4 on weights of 30 altogether:
 * Krum then picks another client than exact arithmetic does.
 */

import type { Adapter } from "../adapters/adapter.ts";
import { floats } from "../adapters/cast.ts";
import { sizeOf } from "../adapters/tensor.ts";
import { createGram } from "./gram.ts";
import { moduleFactors, modulesOf, squaredProductDistance } from "./modules.ts";
import { canSlice, type Floats } from "./parts.ts";
import type { Updates } from "./strategy.ts";

/** Where distances are measured: on A and B apart, or on the products s·B·A that the model sees. */
export type Space = "factors" | "products";

/** @returns n x n, zeros on the diagonal; over what travels, in product space over modules of which both factors do */
export function squaredDistances(updates: Updates, global: Adapter, space: Space): Float64Array[] {
  const n = updates.clients.length;
  const distances = Array.from({ length: n }, () => new Float64Array(n));
  const add = (i: number, j: number, squared: number) => {
    distances[i]![j]! += squared;
    distances[j]![i]! += squared;
  };
  const { pairs, others } = modulesOf(global.tensors.keys());
  const everybody = updates.clients.map((_, k) => k); // of what travels no client lacks a tensor: needs say so
  const travels = new Set(updates.names);
  const gram = createGram(n);
  for (const name of space === "factors" ? global.tensors.keys() : others) {
    if (!travels.has(name)) continue;
    const old = floats(global.tensors.get(name)!);
    if (!(old instanceof Float32Array) || !canSlice(updates, everybody, name)) {
      const values = everybody.map((k) => floats(updates.tensor(k, name)!));
      for (let i = 0; i < n; i++) {
        for (let j = i + 1; j < n; j++) add(i, j, squaredDistance(values[i]!, values[j]!));
      }
      continue;
    }
    const size = sizeOf(global.tensors.get(name)!.shape);
    for (let from = 0; from < size; from += gram.part) {
      const length = Math.min(gram.part, size - from);
      for (const k of everybody) updates.slice!(k, name, from, gram.row(k).subarray(0, length));
      gram.center.set(old.subarray(from, from + length));
      gram.addDifferences(length);
    }
  }
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      add(i, j, Math.max(0, gram.at(i, i) + gram.at(j, j) - 2 * gram.at(i, j)));
    }
  }
  if (space === "factors") return distances;
  for (const pair of pairs) {
    if (!travels.has(pair.a) || !travels.has(pair.b)) continue;
    const factors = updates.clients.map((_, k) => moduleFactors(updates, k, pair)!);
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) add(i, j, squaredProductDistance(factors[i]!, factors[j]!));
    }
  }
  return distances;
}

function squaredDistance(a: Floats, b: Floats): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) {
    const d = a[i]! - b[i]!;
    total += d * d;
  }
  return total;
}
