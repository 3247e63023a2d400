/**
 * Squared distances between the clients' adapters, summed over all tensors.
 *
 * Differences are taken first and squared then, in float64. The cheaper form ||x||² + ||y||² − 2⟨x, y⟩ in float32
 * loses updates of 1e-4 on weights of 30 altogether: Krum then picks another client than exact arithmetic does.
 */

import type { Adapter } from "../adapters/adapter.ts";
import { floats } from "../adapters/cast.ts";
import { sizeOf } from "../adapters/tensor.ts";
import { createKernels, partOf } from "./kernels.ts";
import { moduleFactors, modulesOf, squaredProductDistance } from "./modules.ts";
import { canSlice, type Floats } from "./parts.ts";
import type { Updates } from "./strategy.ts";

/** Where distances are measured: on A and B apart, or on the products s·B·A that the model sees. */
export type Space = "factors" | "products";

/** @returns n x n, zeros on the diagonal */
export function squaredDistances(updates: Updates, global: Adapter, space: Space): Float64Array[] {
  const n = updates.clients.length;
  const distances = Array.from({ length: n }, () => new Float64Array(n));
  const add = (i: number, j: number, squared: number) => {
    distances[i]![j]! += squared;
    distances[j]![i]! += squared;
  };
  const { pairs, others } = modulesOf(global.tensors.keys());
  const alone = space === "factors" ? [...global.tensors.keys()] : others;
  const part = partOf(n);
  const kernels = createKernels(n, part);
  const everybody = updates.clients.map((_, k) => k); // no tensor lacks: needs say so
  for (const name of alone) {
    if (!canSlice(updates, everybody, name)) {
      const values = everybody.map((k) => floats(updates.tensor(k, name)!));
      for (let i = 0; i < n; i++) {
        for (let j = i + 1; j < n; j++) add(i, j, squaredDistance(values[i]!, values[j]!));
      }
      continue;
    }
    const size = sizeOf(global.tensors.get(name)!.shape);
    for (let from = 0; from < size; from += part) {
      const length = Math.min(part, size - from);
      for (const k of everybody) updates.slice!(k, name, from, kernels.slot(k, length));
      for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) add(i, j, kernels.distance(i, j, length));
    }
  }
  if (space === "factors") return distances;
  for (const pair of pairs) {
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
