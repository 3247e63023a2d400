/** Which clients take part in a round. */
import { createRng } from "../base/rng.ts";
import type { Sampler } from "../server/ports.ts";
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

/** Numbers inside names count as numbers, so that client 2 comes before client 10 as the benchmark counts them. */
const byNumber = new Intl.Collator("en", { numeric: true });

/**
 * `cohort.sampling: published` for a coordinator. Client i is the i-th name; a coordinator counts rounds from 1, the
 * benchmark from 0. A repeated attempt of a round draws the same clients.
 */
export const publishedSampler: Sampler = ({ round, eligible, count }) => {
  const names = [...eligible].sort(byNumber.compare);
  return publishedCohort(round - 1, names.length, count).map((client) => names[client]!);
};
