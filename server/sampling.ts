/** The cohort of a round by the run's seed: the same clients whenever the same ones are there. */
import { createRng } from "../base/rng.ts";
import type { Sampler } from "./ports.ts";

export const seededSampler: Sampler = ({ seed, round, attempt, eligible, count }) =>
  createRng(seed).fork("sampling", round, attempt).sample(eligible, count);
