/** Time as a value that is passed in, so that tests decide when an hour has gone by. */
export interface Clock {
  /** Milliseconds since 1970, for what people read; it may jump. */
  now(): number;
  /** Milliseconds that never run backwards, for durations and deadlines within one process. */
  monotonic(): number;
  /** Calls `wake` once after at least `delayMs`; the returned function takes it back. */
  after(delayMs: number, wake: () => void): () => void;
}

/** setTimeout's longest delay, about 24.8 days; a longer one would fire at once. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, wake) {
    const timer = setTimeout(wake, Math.min(Math.max(0, delayMs), LONGEST_TIMEOUT_MS));
    return () => clearTimeout(timer);
  },
};

/** A clock that stands still until `advance` is called; timers fire in order of their time. */
export class ManualClock implements Clock {
  #nowMs: number;
  #timers: { atMs: number; order: number; wake: () => void }[] = [];
  #order = 0;

  constructor(startMs = 0) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  after(delayMs: number, wake: () => void): () => void {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, wake };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      const next = this.#timers
        .filter((timer) => timer.atMs <= untilMs)
        .sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = next.atMs;
      next.wake();
    }
    this.#nowMs = untilMs;
  }
}
