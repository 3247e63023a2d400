/** `fleet.labelNoise` and label-flippers: what of a client's answers is wrong, before anybody trains on them. */
import { createRng } from "../../base/rng.ts";
import type { Shard } from "../../client/inventory.ts";
import { wordedAs } from "../../client/inventory.ts";
import { withLabelNoise } from "../generators/label-noise.ts";
import { type FleetClient, rememberForms } from "./shards.ts";
import type { ClientTraits } from "./traits.ts";

/**
 * The client with wrong answers in its training examples: the share that label noise says, all of a label-flipper's. The
 * same examples are wrong in every wording. Held-out examples stay true.
 *
 * @throws FedloomError F6001 where an example has no two options to confuse
 */
export function withWrongAnswers(
  { id, shard }: FleetClient,
  { labelNoise, poison }: ClientTraits,
  seed: number,
): FleetClient {
  const noise = poison?.kind === "label-flip" ? ({ rate: 1, kind: "pair" } as const) : labelNoise;
  if (noise === undefined) return { id, shard };
  const confuse = (honest: Shard): Shard => ({
    train: withLabelNoise(honest.train, noise, createRng(seed).fork("fleet", "answers", id)),
    heldOut: honest.heldOut,
  });
  return { id, shard: rememberForms((form) => confuse(wordedAs(shard, form))) };
}
