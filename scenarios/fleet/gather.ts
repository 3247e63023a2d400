/**
 * Clients of a round that train in one pass: each waits until all that the round still hears from are at the trainer,
 * and then they go together, in the order of their ids. So who goes with whom follows from the round, not from time. In
 * an asynchronous run they go when the next one that will have finished is among them (arrivals.ts).
 */
import type { Trainer, TrainJob, TrainResult } from "../../training/trainer.ts";

export interface Gathering {
  /** The trainer as one client uses it. */
  of(client: string): Trainer;
  /** Looks whether all are there; to be called whenever fewer are waited for. */
  look(): void;
}

interface Waiting {
  readonly job: TrainJob;
  readonly resolve: (result: Promise<TrainResult>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * @param trainTogether the jobs go to, in the order of their clients' ids
 * @param expected clients that are waited for; undefined while nobody needs to train yet
 */
export function gatherClients(
  trainer: Trainer,
  trainTogether: (jobs: readonly TrainJob[]) => readonly Promise<TrainResult>[],
  expected: () => readonly string[] | undefined,
): Gathering {
  const waiting = new Map<string, Waiting>();
  const look = (): void => {
    if (waiting.size === 0 || expected()?.every((client) => waiting.has(client)) !== true) return;
    const group = [...waiting].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
    waiting.clear();
    const results = trainTogether(group.map(({ job }) => job));
    for (const [i, { resolve }] of group.entries()) resolve(results[i]!);
  };
  const join = (client: string, job: TrainJob): Promise<TrainResult> =>
    new Promise<TrainResult>((resolve, reject) => {
      const { signal } = job.control;
      waiting.set(client, { job, resolve, reject });
      const leave = (): void => {
        if (waiting.get(client)?.job !== job) return; // it trains, and the trainer sees the signal itself
        waiting.delete(client);
        reject(signal?.reason);
        look();
      };
      if (signal?.aborted === true) leave();
      else signal?.addEventListener("abort", leave, { once: true });
      look();
    });
  return {
    of: (client) => ({
      ...trainer,
      train: (task, examples, control) => join(client, { task, examples, control }),
    }),
    look,
  };
}
