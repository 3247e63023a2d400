/** Who holds what in a fleet: shards of one dataset, by a partition or dealt out one by one. */

import { FedloomError } from "../../base/errors.ts";
import type { Shard } from "../../client/inventory.ts";
import type { RunConfig } from "../../config/run.ts";
import { examplesOf } from "../../data/dataset.ts";
import { type Example, MODALITIES } from "../../data/example.ts";
import { openDataset } from "../../data/open-dataset.ts";
import { withKept } from "../../data/prompts/index.ts";
import type { PromptForm } from "../../data/prompts/multiple-choice.ts";
import { examplesOfShard, readPartition, shardOf } from "../../data/shards.ts";

export interface FleetClient {
  readonly id: string;
  readonly shard: Shard;
}

/** Digits are filled up, so that the byte order of the ids is the order of the numbers. */
export function clientName(client: number, clients: number): string {
  return `client-${String(client).padStart(String(clients - 1).length, "0")}`;
}

/**
 * A shard that is worded once a form: trainers know an example's tokens again by the example's identity, so that later
 * rounds do not make them anew.
 */
export function rememberForms(word: (form: PromptForm) => Shard): Required<Shard> {
  const known = new Map<PromptForm, Shard>();
  const worded = (form: PromptForm): Shard => {
    const shard = known.get(form) ?? word(form);
    known.set(form, shard);
    return shard;
  };
  return { ...worded("standard"), worded };
}

/**
 * The fleet's clients. Every client has the dataset's held-out examples for evaluations of its own.
 *
 * @throws FedloomError F2006 where partition and dataset do not fit, F6010 where a client would have no example
 */
export async function fleetShards({
  clients,
  partition,
  data,
}: NonNullable<RunConfig["fleet"]>): Promise<FleetClient[]> {
  const dataset = await openDataset(data);
  const train = examplesOf(dataset, "train");
  const heldOut = dataset.splits.get("held-out") ?? [];
  const parts = partition === undefined ? undefined : readPartition(partition);
  const reword = (examples: readonly Example[], form: PromptForm): Example[] =>
    examples.map((example) => withKept(example, MODALITIES, form));

  const examplesFor = (client: number, form: PromptForm): readonly Example[] =>
    parts === undefined
      ? reword(
          train.filter((_, i) => i % clients === client),
          form,
        )
      : examplesOfShard(shardOf(parts, client), train, form);

  return Array.from({ length: clients }, (_, client) => {
    const id = clientName(client, clients);
    const shard = rememberForms((form) => ({
      train: examplesFor(client, form),
      heldOut: reword(heldOut, form),
    }));
    if (shard.train.length === 0) {
      throw new FedloomError(
        "F6010",
        `Cannot make a fleet of ${clients} clients from "${data}": client ${client} would have no example of ${train.length}`,
        { clients, client, examples: train.length },
      );
    }
    return { id, shard };
  });
}
