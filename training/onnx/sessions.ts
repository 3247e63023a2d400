/**
 * Sessions that are kept open, by what they were made for; the one that was not used for longest goes first.
 *
 * To open one costs about as much as a step, and an epoch of unequal examples wants twenty to forty of them; but each
 * keeps the memory that its largest step needed. So it is memory that bounds them, and a number only at last.
 */
import { estimateMemory } from "./estimate.ts";
import type { Program } from "./program.ts";
import type { Session } from "./runtime.ts";

/** Activations of all open sessions together, but for the one in use: with a model of some size a few times its weights. */
const KEPT_WEIGHTS = 3;
const FEWEST_KEPT_BYTES = 512 * 2 ** 20;
const MOST_KEPT_BYTES = 1.5 * 2 ** 30;
const MOST_SESSIONS = 32;

/** @param weightBytes of the model */
export function keptBytes(weightBytes: number): number {
  return Math.min(Math.max(FEWEST_KEPT_BYTES, KEPT_WEIGHTS * weightBytes), MOST_KEPT_BYTES);
}

interface Kept {
  readonly session: Session;
  readonly bytes: number;
}

export class Sessions {
  readonly #most: number;
  readonly #kept = new Map<string, Kept>();

  constructor(most = MOST_SESSIONS) {
    this.#most = most;
  }

  get(key: string): Session | undefined {
    const known = this.#kept.get(key);
    if (known === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, known);
    return known.session;
  }

  /** @param program what the session runs */
  async keep(key: string, session: Session, program: Program): Promise<Session> {
    const { activationBytes, weightBytes } = estimateMemory(program);
    const most = keptBytes(weightBytes);
    let bytes = [...this.#kept.values()].reduce((sum, kept) => sum + kept.bytes, 0);
    for (const [old, kept] of this.#kept) {
      if (this.#kept.size < this.#most && bytes <= most) break;
      this.#kept.delete(old);
      bytes -= kept.bytes;
      await kept.session.close();
    }
    this.#kept.set(key, { session, bytes: activationBytes });
    return session;
  }

  async close(): Promise<void> {
    for (const { session } of this.#kept.values()) await session.close();
    this.#kept.clear();
  }
}
