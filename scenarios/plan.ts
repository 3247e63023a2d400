/** What a partition is made of before it is written: shards, what the table and the picture show, and notes. */
import { FedloomError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import type { Modality } from "../data/example.ts";
import { encodePartition, type Partition, type ShardEntry } from "../data/shards.ts";

export interface Plan {
  /** One line: which data, which scenario, which seed. */
  readonly title: string;
  readonly partition: Partition;
  /** Class of each example by id, for the table and the picture. */
  readonly labels: ReadonlyMap<string, string>;
  /** What a reader of the result must know: the published scripts' quirks. */
  readonly notes: readonly string[];
  /** Files in the benchmark's own layout, path -> content; none in clean mode. */
  readonly publishedFiles: ReadonlyMap<string, () => string>;
}

export function hashOfPlan(plan: Plan): string {
  return sha256(encodePartition(plan.partition));
}

/** @throws FedloomError F2004 where an example would be dealt twice */
export function partitionOf(shards: readonly (readonly ShardEntry[])[]): Partition {
  const dealt = new Map<string, number>();
  for (const [client, shard] of shards.entries()) {
    for (const { id } of shard) {
      const other = dealt.get(id);
      if (other !== undefined) {
        throw new FedloomError(
          "F2004",
          `Cannot write the partition: two rows have the id "${id}" (dealt to clients ${other} and ${client})`,
          { id },
        );
      }
      dealt.set(id, client);
    }
  }
  return { version: 1, clients: shards.map((examples, client) => ({ client, examples: [...examples] })) };
}

/** What a shard's entry keeps, in one word for tables and pictures. */
export type Kind = "text + image" | "image only" | "text only" | "neither" | "with audio";

export function kindOf(keep: readonly Modality[]): Kind {
  if (keep.includes("audio")) return "with audio";
  if (keep.includes("text")) return keep.includes("image") ? "text + image" : "text only";
  return keep.includes("image") ? "image only" : "neither";
}

export const KINDS: readonly Kind[] = ["text + image", "image only", "text only", "neither", "with audio"];

export interface Counts {
  /** Labels in order of their size over all clients, largest first. */
  readonly labels: readonly string[];
  /** The kinds that occur. */
  readonly kinds: readonly Kind[];
  /** Client -> label -> kind -> examples. */
  readonly clients: readonly ReadonlyMap<string, ReadonlyMap<Kind, number>>[];
}

export function countsOf(plan: Plan): Counts {
  const totals = new Map<string, number>();
  const kinds = new Set<Kind>();
  const clients = plan.partition.clients.map((shard) => {
    const own = new Map<string, Map<Kind, number>>();
    for (const { id, keep } of shard.examples) {
      const label = plan.labels.get(id) ?? "(no label)";
      const kind = kindOf(keep);
      totals.set(label, (totals.get(label) ?? 0) + 1);
      kinds.add(kind);
      const byKind = own.get(label) ?? new Map<Kind, number>();
      byKind.set(kind, (byKind.get(kind) ?? 0) + 1);
      own.set(label, byKind);
    }
    return own;
  });
  const labels = [...totals].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([label]) => label);
  return { labels, kinds: KINDS.filter((kind) => kinds.has(kind)), clients };
}
