/** `cohort.sampling: published`: the benchmark's own draw, for any coordinator. */
import type { Sampler } from "../../server/ports.ts";
import { publishedCohort } from "../client-sampling.ts";

/** Client k of the published scripts is the k-th id in byte order. */
export const publishedSampler: Sampler = ({ round, eligible, count }) =>
  publishedCohort(round, eligible.length, count).map((index) => eligible[index]!);
