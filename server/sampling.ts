/** Clients by the run's seed: the same ones whenever the same ones are there. */
import { createRng } from "../base/rng.ts";
import type { Sampler } from "./ports.ts";

export const seededSampler: Sampler = ({ seed, round, attempt, draw, eligible, count }) => {
  const rng = createRng(seed);
  const chance = draw === undefined ? rng.fork("sampling", round, attempt) : rng.fork("draw", draw);
  return chance.sample(eligible, count);
};
