/**
 * Which tensors can be read part by part: what is read is then used while it is still in the processor's cache, and
 * memory is bounded by clients x part.
 */
import type { Updates } from "./strategy.ts";

export type Floats = Float32Array | Float64Array;

/** Whether all of these clients' tensors of that name are float32 and can be read in parts. */
export function canSlice(updates: Updates, clients: readonly number[], name: string): boolean {
  return updates.slice !== undefined && clients.every((k) => updates.slice!(k, name, 0, NOTHING));
}

const NOTHING = new Float32Array(0);

/** The clients that have a tensor. */
export function havingTensor(updates: Updates, name: string): number[] {
  return updates.clients.flatMap((_, k) => (updates.has(k, name) ? [k] : []));
}
