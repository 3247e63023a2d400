/** Tasks of several clients in common passes: which go together, and how many at a time. */
import { type Learner, microBatches, type Row } from "./learner.ts";
import { type Member, trainInLockstep } from "./lockstep.ts";
import type { Training } from "./loop.ts";
import type { Togetherness, TrainJob, TrainResult } from "./trainer.ts";
import type { View } from "./view.ts";

/** A job whose learner is open and whose rows are made. */
export interface ReadyJob<R extends Row> {
  /** Of the adapter's form; jobs of one learner share passes. */
  readonly learner: Learner<R>;
  readonly view: View;
  readonly rows: readonly R[];
  begin(): Training<R>;
}

/** Ready jobs of one learner, with their places among all jobs. */
type Group<R extends Row> = { readonly i: number; readonly job: ReadyJob<R> }[];

/**
 * What a task holds beside the passes, in copies of its trained tensors: weights, sums of gradients, two moments, the
 * factors and gradients of a pass, the result, and what was handed out.
 */
const COPIES = 8;
/** The runtime's arena grows in steps and does not fill them (onnx/estimate.ts). */
const ARENA_SLACK = 1.2;

/** @returns a promise a job, in their order; each settles when its job ends */
export function trainJobsTogether<R extends Row>(
  jobs: readonly TrainJob[],
  how: Togetherness,
  prepare: (job: TrainJob) => Promise<ReadyJob<R>>,
): Promise<TrainResult>[] {
  const results = jobs.map(() => Promise.withResolvers<TrainResult>());
  const work = async (): Promise<void> => {
    const ready: Group<R>[number][] = [];
    for (const [i, job] of jobs.entries()) {
      try {
        ready.push({ i, job: await prepare(job) });
      } catch (error) {
        results[i]!.reject(error);
      }
    }
    // Adapters of another form, as of another rank, take passes of their own.
    const groups = [...Map.groupBy(ready, ({ job }) => job.learner)];
    for (const [learner, group] of groups) {
      const atOnce = await fitting(jobs, group, how);
      const members = group.map(
        ({ i, job }): Member<R> => ({
          view: job.view,
          begin: async () => job.begin(),
          done: results[i]!.resolve,
          failed: results[i]!.reject,
        }),
      );
      await trainInLockstep(learner, members, atOnce);
    }
  };
  work().catch((error: unknown) => {
    for (const { reject } of results) reject(error); // those that ended before do not hear of it
  });
  return results.map(({ promise }) => promise);
}

/** As many tasks at a time as are wanted and the memory has room for. */
async function fitting<R extends Row>(
  jobs: readonly TrainJob[],
  group: Group<R>,
  { atOnce, memoryBytes, onPlan }: Togetherness,
): Promise<number> {
  const wanted = Math.min(atOnce, group.length);
  if (memoryBytes === undefined || wanted === 1) return wanted;
  const bytesEach = await bytesOf(jobs, group);
  const chosen = Math.max(1, Math.min(wanted, Math.floor(memoryBytes / bytesEach)));
  onPlan?.({ tasks: group.length, wanted, atOnce: chosen, bytesEach });
  return chosen;
}

/** Bytes that one more task in a pass takes: of the longest micro-batch that these tasks can have. */
async function bytesOf<R extends Row>(jobs: readonly TrainJob[], group: Group<R>): Promise<number> {
  const [{ i, job }] = group as [(typeof group)[number]];
  const size = Math.max(...group.map((one) => jobs[one.i]!.task.options.per_device_train_batch_size));
  const longest = microBatches(
    group.flatMap((one) => one.job.rows),
    size,
  ).at(-1);
  const { tensors } = jobs[i]!.task.adapter;
  const held = COPIES * [...tensors.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  if (longest === undefined || job.learner.bytesOf === undefined) return held;
  return held + ARENA_SLACK * (await job.learner.bytesOf(longest, job.view.inward(tensors)));
}
