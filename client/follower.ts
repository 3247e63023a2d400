/** An abort that follows another, and may come earlier for a reason of its own. */

export interface Follower {
  readonly controller: AbortController;
  /** To be called when what it was for is over: the followed signal forgets it. */
  leave(): void;
}

/** As AbortSignal.any with a second controller, at a fraction of its cost: each task makes some. */
export function follow(signal: AbortSignal): Follower {
  const controller = new AbortController();
  const abort = (): void => controller.abort(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  return { controller, leave: () => signal.removeEventListener("abort", abort) };
}
