/** One trainer for many clients: one session, one task at a time, in the order in which they came. */
import type { Trainer, TrainResult } from "../../training/trainer.ts";

/**
 * Whoever had a turn makes of the result what it will before the next one begins: while the tensors are in the
 * processor's cache, and before others take memory.
 */
const aftermath = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * @param trainer shared; closing the result leaves it open, since others may use it
 * @returns a trainer whose calls wait for each other
 */
export function takeTurns(trainer: Trainer): Trainer {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> => {
    const turn = last.then(() => {
      signal?.throwIfAborted(); // called off while it waited
      return work();
    });
    last = turn.then(aftermath, aftermath);
    return turn;
  };
  return {
    name: trainer.name,
    baseHash: trainer.baseHash,
    createAdapter: (request, seed) => inTurn(undefined, () => trainer.createAdapter(request, seed)),
    train: (task, examples, control) => inTurn(control.signal, () => trainer.train(task, examples, control)),
    ...(trainer.trainTogether && {
      trainTogether(jobs, how) {
        // One turn for all, which ends with the last of them; each hears of its own end.
        const results = jobs.map(() => Promise.withResolvers<TrainResult>());
        void inTurn(undefined, async () => {
          const promises = trainer.trainTogether!(jobs, how);
          for (const [i, { resolve }] of results.entries()) resolve(promises[i]!);
          await Promise.allSettled(promises);
        });
        return results.map(({ promise }) => promise);
      },
    }),
    predict: (task, examples, control) =>
      inTurn(control.signal, () => trainer.predict(task, examples, control)),
    close: async () => {},
  };
}
