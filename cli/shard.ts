/** What a client node trains on: a whole dataset, or its part of a partition. */
import { FedloomError } from "../base/errors.ts";
import type { Shard } from "../client/inventory.ts";
import { type Example, MODALITIES } from "../data/example.ts";
import { openDataset } from "../data/open-dataset.ts";
import { withKept } from "../data/prompts/index.ts";
import type { PromptForm } from "../data/prompts/multiple-choice.ts";
import { examplesOfShard, readPartition, shardOf } from "../data/shards.ts";

export interface Part {
  /** partition.json */
  readonly file: string;
  readonly client: number;
}

/**
 * Held-out examples stay whole: the benchmark tests with both modalities, whatever was missing in training.
 *
 * @throws FedloomError F5103 for a dataset or part without examples, F2006 where partition and dataset do not fit
 */
export async function openShard(directory: string, part?: Part): Promise<Shard> {
  const { splits } = await openDataset(directory);
  const [train, heldOut] = [splits.get("train") ?? [], splits.get("held-out") ?? []];
  const own = part === undefined ? undefined : shardOf(readPartition(part.file), part.client);
  const reword = (examples: readonly Example[], form: PromptForm): Example[] =>
    examples.map((example) => withKept(example, MODALITIES, form));
  const worded = (form: PromptForm): Shard => ({
    train: own === undefined ? reword(train, form) : examplesOfShard(own, train, form),
    heldOut: reword(heldOut, form),
  });
  const shard = own === undefined ? { train, heldOut } : { ...worded("standard"), worded };
  if (shard.train.length > 0 || (own === undefined && heldOut.length > 0)) return shard;
  const what =
    part === undefined
      ? "it holds no examples"
      : `client ${part.client} of ${part.file} holds none of its examples`;
  throw new FedloomError("F5103", `Cannot start a client on "${directory}": ${what}`, { directory });
}
