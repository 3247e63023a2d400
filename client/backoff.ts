/**
 * How long to wait before the next attempt: the delay doubles with every failure and is drawn from its upper
 * half, so that a thousand clients that lost the same coordinator do not come back in the same millisecond.
 *
 * "Equal jitter" of https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ : the lower half
 * keeps a client from hammering a coordinator that is just starting.
 */
import type { Clock } from "../base/clock.ts";
import type { Rng } from "../base/rng.ts";

/** A coordinator that was only restarted is found again at once. */
export const FIRST_DELAY_MS = 200;
/** Nobody should wait longer than this for a client after the network is mended. */
export const LONGEST_DELAY_MS = 15_000;

export interface Backoff {
  /** The delay before the next attempt; every call counts one more failure. */
  next(): number;
  /** Something worked: the next delay is short again. */
  reset(): void;
}

export function createBackoff(rng: Rng, firstMs = FIRST_DELAY_MS, longestMs = LONGEST_DELAY_MS): Backoff {
  let failures = 0;
  return {
    next() {
      const ceiling = Math.min(longestMs, firstMs * 2 ** failures);
      failures++;
      return ceiling / 2 + rng.uniform() * (ceiling / 2);
    },
    reset() {
      failures = 0;
    },
  };
}

/** Resolves after `delayMs`, or at once when `signal` aborts; it never rejects. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      takeBack();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const takeBack = clock.after(delayMs, done);
    signal.addEventListener("abort", done, { once: true });
  });
}
