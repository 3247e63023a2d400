/** How examples are dealt to clients: index lists, and the checks that all dealers share. */
import { FedloomError } from "../../base/errors.ts";
import type { Rng } from "../../base/rng.ts";

/** Client x indices of examples. Each index stands at one client at most. */
export type Assignment = readonly (readonly number[])[];

export interface DealOptions {
  readonly clients: number;
  /** Each client has at least so many; 1 unless said otherwise. */
  readonly minPerClient?: number;
}

/** @throws FedloomError F6001 with the bound that would do */
export function requireEnough(examples: number, options: DealOptions): void {
  const { clients, minPerClient = 1 } = options;
  if (!Number.isInteger(clients) || clients < 1) {
    throw new FedloomError("F6001", `Cannot partition: clients must be a positive integer, got ${clients}`, {
      clients,
    });
  }
  if (examples >= clients * minPerClient) return;
  const bound =
    minPerClient > 1
      ? `at most ${Math.floor(examples / clients)} examples a client, or ${Math.floor(examples / minPerClient)} clients`
      : `at most ${examples} clients`;
  throw new FedloomError(
    "F6001",
    `Cannot give ${clients} clients ${minPerClient} or more of ${examples} examples each: feasible are ${bound}`,
    { examples, clients, minPerClient },
  );
}

/** @throws FedloomError F6001 unless low <= value <= high */
export function requireWithin(what: string, value: number, low: number, high: number): void {
  if (value >= low && value <= high) return;
  throw new FedloomError("F6001", `Cannot partition: ${what} must be from ${low} to ${high}, got ${value}`, {
    value,
  });
}

/** Whole numbers that sum to `total`, as near to the shares as they can be (largest remainder, Hamilton). */
export function apportion(shares: readonly number[], total: number): number[] {
  const sum = shares.reduce((all, share) => all + share, 0);
  const exact = shares.map((share) => (share / sum) * total);
  const sizes = exact.map(Math.floor);
  const left = total - sizes.reduce((all, size) => all + size, 0);
  const byRemainder = [...exact.keys()].sort(
    (a, b) => exact[b]! - sizes[b]! - (exact[a]! - sizes[a]!) || a - b,
  );
  for (const client of byRemainder.slice(0, left)) sizes[client]!++;
  return sizes;
}

/** Moves random examples from the largest client until nobody has less than the minimum. Changes `held`. */
export function topUp(held: number[][], minPerClient: number, rng: Rng): void {
  for (const poor of held) {
    while (poor.length < minPerClient) {
      const rich = held.reduce((most, one) => (one.length > most.length ? one : most));
      poor.push(...rich.splice(rng.below(rich.length), 1));
    }
  }
}

/** Indices by label, labels in order of first appearance. */
export function byLabel(labels: readonly string[]): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  for (const [index, label] of labels.entries()) {
    const group = groups.get(label);
    if (group === undefined) groups.set(label, [index]);
    else group.push(index);
  }
  return groups;
}

/** Consecutive blocks of these sizes. */
export function blocks<T>(items: readonly T[], sizes: readonly number[]): T[][] {
  let from = 0;
  return sizes.map((size) => {
    from += size;
    return items.slice(from - size, from);
  });
}
