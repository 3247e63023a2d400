/** The shared trainer as one client of a fleet uses it: at its device's rank, and with the harm that it does. */
import type { Adapter } from "../../adapters/adapter.ts";
import { atRank } from "../../adapters/hand-out.ts";
import { FedloomError } from "../../base/errors.ts";
import { createRng } from "../../base/rng.ts";
import type { Trainer } from "../../training/trainer.ts";
import { poisonedUpdate } from "../generators/poisoned-update.ts";
import type { ClientTraits } from "./traits.ts";

/** A poisoned client's harm comes from the task's seed: the same task gives the same update. */
export function clientTrainer(trainer: Trainer, { device, poison }: ClientTraits): Trainer {
  const rank = device?.rank;
  if (rank === undefined && poison === undefined) return trainer;
  return {
    ...trainer,
    async train(task, examples, control) {
      // A rank that the run has pruned lies below the device's.
      const own = Math.min(rank ?? Number.POSITIVE_INFINITY, task.rank ?? Number.POSITIVE_INFINITY);
      const adapter = Number.isFinite(own) ? cutTo(own, task.adapter) : task.adapter;
      const result = await trainer.train({ ...task, adapter }, examples, control);
      if (poison === undefined) return result;
      const { kind, strength } = poison;
      const rng = createRng(task.seed).fork("poison");
      const tensors = poisonedUpdate(kind, adapter.tensors, result.adapter.tensors, strength, rng);
      return { ...result, adapter: { ...result.adapter, tensors } };
    },
  };
}

/**
 * The adapter as a client of this rank is handed it, its factors at the same scale.
 *
 * @throws FedloomError F6014 for a rank above the adapter's: rows beyond it would be zero in A and in B, and zero they stay
 */
function cutTo(rank: number, adapter: Adapter): Adapter {
  const { config } = adapter;
  if (rank > config.rank) {
    throw new FedloomError(
      "F6014",
      `Cannot train at rank ${rank}: the adapter that is handed out has rank ${config.rank}`,
      { rank, handedOut: config.rank },
    );
  }
  return atRank(adapter, rank);
}
