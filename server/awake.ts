/**
 * Time in which nobody could be heard does not count: a process that stood still, as in a paused machine or container,
 * finds its timers due before it has read what peers said meanwhile.
 */
import type { Clock } from "../base/clock.ts";

/** A timer that is so late was not held up by other work of this process. */
const LATE_MS = 5_000;

/** As clock.after; a timer that comes late begins anew. @returns takes it back */
export function afterAwake(clock: Clock, delayMs: number, wake: () => void): () => void {
  let cancel = (): void => undefined;
  const begin = (): void => {
    const dueMs = clock.monotonic() + delayMs;
    cancel = clock.after(delayMs, () => {
      if (clock.monotonic() - dueMs > LATE_MS) begin();
      else wake();
    });
  };
  begin();
  return () => cancel();
}
