/** Which clients take part in a round. */
import { createRng } from "../base/rng.ts";
import { PythonRandom } from "./cpython/random.ts";

/**
 * As published: Python seeded with the round's number (from 0), `perRound` of range(clients), sorted. All clients where
 * there are fewer than `perRound`.
 *
 * Source: FedMLLM, finetune/federated_learning/fed_global.py, https://github.com/1xbq1/FedMLLM
 */
export function publishedCohort(round: number, clients: number, perRound: number): number[] {
  const all = Array.from({ length: clients }, (_, i) => i);
  if (clients < perRound) return all;
  return new PythonRandom(round).sample(all, perRound).sort((a, b) => a - b);
}

/** The same idea with a seed of the run, so that two runs differ. */
export function cleanCohort(seed: string, round: number, clients: number, perRound: number): number[] {
  const all = Array.from({ length: clients }, (_, i) => i);
  if (clients <= perRound) return all;
  return createRng(seed)
    .fork("cohort", round)
    .sample(all, perRound)
    .sort((a, b) => a - b);
}
