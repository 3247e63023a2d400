/** Calls that go on until the coordinator answers, and transfers that may take long but not stand still. */
import type { Clock } from "../base/clock.ts";
import { FedloomError } from "../base/errors.ts";
import type { Rng } from "../base/rng.ts";
import { createBackoff, pause } from "./backoff.ts";
import { follow } from "./follower.ts";
import { isTransient } from "./standing.ts";

export interface Persistence {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Told before every pause, so that a client whose coordinator is gone says so. */
  onWait(reason: FedloomError, retryMs: number): void;
}

/**
 * Repeats `attempt` while trying again can help.
 *
 * @param attempt calls `moved` when something got through: the next delay is then short again
 * @throws what `attempt` threw if trying again cannot help; the signal's reason once it aborts
 */
export async function untilAnswered<T>(
  attempt: (moved: () => void) => Promise<T>,
  signal: AbortSignal,
  { clock, rng, onWait }: Persistence,
): Promise<T> {
  const backoff = createBackoff(rng);
  for (;;) {
    signal.throwIfAborted();
    try {
      return await attempt(backoff.reset);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof FedloomError) || !isTransient(error)) throw error;
      const delayMs = backoff.next();
      onWait(error, delayMs);
      await pause(clock, delayMs, signal);
    }
  }
}

/**
 * Runs `work` under a signal that aborts with `signal`, or when `moved` was not called for `idleMs`.
 *
 * @throws FedloomError F5108 in the latter case
 */
export async function whileMoving<T>(
  what: string,
  idleMs: number,
  signal: AbortSignal,
  clock: Clock,
  work: (signal: AbortSignal, moved: () => void) => Promise<T>,
): Promise<T> {
  const { controller, leave } = follow(signal);
  let stalled: FedloomError | undefined;
  let lastMs = clock.monotonic();
  let stop = (): void => {};
  const watch = (): void => {
    const leftMs = lastMs + idleMs - clock.monotonic();
    if (leftMs > 0) {
      stop = clock.after(leftMs, watch);
      return;
    }
    stalled = new FedloomError("F5108", `Cannot go on with ${what}: nothing moved for ${idleMs} ms`, {
      idleMs,
    });
    controller.abort(stalled);
  };
  watch();
  try {
    return await work(controller.signal, () => {
      lastMs = clock.monotonic();
    });
  } catch (error) {
    throw stalled ?? error;
  } finally {
    stop();
    leave();
  }
}
