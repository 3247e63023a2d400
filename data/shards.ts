/**
 * partition.json: who holds which examples, and which modalities of each.
 *
 *   {"version":1,"clients":[{"client":0,"examples":[{"id":"…","keep":["text","image"]}]}]}
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { FedloomError, messageOf } from "../base/errors.ts";
import { type Example, MODALITIES } from "./example.ts";
import { withKept } from "./prompts/index.ts";
import type { PromptForm } from "./prompts/multiple-choice.ts";

const shardEntry = z.strictObject({ id: z.string(), keep: z.array(z.enum(MODALITIES)) });
const shardSchema = z.strictObject({ client: z.int().min(0), examples: z.array(shardEntry) });

export const partitionSchema = z.strictObject({
  version: z.literal(1),
  clients: z.array(shardSchema).min(1),
});

export type ShardEntry = z.output<typeof shardEntry>;
export type Shard = z.output<typeof shardSchema>;
export type Partition = z.output<typeof partitionSchema>;

/** The bytes of partition.json: one client a line, so that two partitions can be compared with diff. */
export function encodePartition(partition: Partition): string {
  const clients = partition.clients.map((shard) => JSON.stringify(shard));
  return `{"version":1,"clients":[\n${clients.join(",\n")}\n]}\n`;
}

/** @throws FedloomError F2006 */
export function readPartition(path: string): Partition {
  const refuse = (why: string, cause?: unknown): never => {
    throw new FedloomError("F2006", `Cannot use the partition ${path}: ${why}`, { path }, { cause });
  };
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    return refuse(messageOf(error), error);
  }
  const parsed = partitionSchema.safeParse(document);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    return refuse(`${issue.path.join(".") || "the document"}: ${issue.message}`);
  }
  const numbers = new Set(parsed.data.clients.map((shard) => shard.client));
  if (numbers.size !== parsed.data.clients.length) return refuse("a client number comes twice");
  return parsed.data;
}

/** @throws FedloomError F2006 where the partition has no such client */
export function shardOf(partition: Partition, client: number): Shard {
  const shard = partition.clients.find((one) => one.client === client);
  if (shard !== undefined) return shard;
  const known = partition.clients.map((one) => one.client);
  throw new FedloomError(
    "F2006",
    `Cannot take the shard of client ${client}: the partition holds clients ${Math.min(...known)} to ${Math.max(...known)}`,
    { client },
  );
}

/**
 * The shard's examples in its order, with what they keep.
 *
 * @throws FedloomError F2006 where the dataset lacks an id
 */
export function examplesOfShard(
  shard: Shard,
  examples: readonly Example[],
  form: PromptForm = "standard",
): Example[] {
  const byId = new Map(examples.map((example) => [example.id, example]));
  return shard.examples.map(({ id, keep }) => {
    const example = byId.get(id);
    if (example === undefined) {
      throw new FedloomError(
        "F2006",
        `Cannot take the shard of client ${shard.client}: the dataset has no example "${id}"`,
        { client: shard.client, id },
      );
    }
    return withKept(example, keep, form);
  });
}
