/** `cohort.sampling: published`: the benchmark's own draw, for any coordinator. */
import type { Sampler } from "../../server/ports.ts";
import { publishedCohort } from "../client-sampling.ts";

/** Numbers inside names count as numbers, so that client-2 comes before client-10 as the benchmark counts them. */
const byNumber = new Intl.Collator("en", { numeric: true });

/**
 * Client k of the published scripts is the k-th name. A coordinator counts rounds from 1, the benchmark from 0. A
 * repeated attempt of a round draws the same clients.
 */
export const publishedSampler: Sampler = ({ round, eligible, count }) => {
  const names = [...eligible].sort(byNumber.compare);
  return publishedCohort(round - 1, names.length, count).map((client) => names[client]!);
};
