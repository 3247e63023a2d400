/** Deletes blobs that nobody refers to any more, so that the disk does not grow with the rounds. */
import type { Clock } from "../base/clock.ts";
import type { Blobs } from "./blobs/blobs.ts";
import type { AdapterRef, BlobRef } from "./records.ts";
import type { Members } from "./round.ts";
import type { Run } from "./run/state.ts";

export interface SweepPace {
  /** A sweep looks at every blob there is: not more often than this, however short the rounds are. */
  readonly everyMs: number;
  /**
   * A blob goes when it was seen without a reference this long ago, in an earlier sweep, and still has none: what was just
   * uploaded or just aggregated is referred to a moment later. A client whose upload went too early is asked for it again.
   */
  readonly suspectMs: number;
}

/** For a disk, which has room for some rounds more than are needed. */
export const UNHURRIED: SweepPace = { everyMs: 60_000, suspectMs: 2 * 60_000 };
/** For memory: what two rounds in a row do not need is gone after the second. */
export const AT_ONCE: SweepPace = { everyMs: 0, suspectMs: 0 };

export class Sweeper {
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #pace: SweepPace;
  readonly #suspectSinceMs = new Map<string, number>();
  #sweeping = false;
  #sweptAtMs: number | undefined;

  constructor(blobs: Blobs, clock: Clock, pace = UNHURRIED) {
    this.#blobs = blobs;
    this.#clock = clock;
    this.#pace = pace;
  }

  /**
   * The same blobs for whoever may refer to them next: one that was asked for or put is no suspect any more. Between a
   * client's "is it there?" and the event that names it a sweep may come by.
   */
  watched(): Blobs {
    const blobs = this.#blobs;
    const named = (blob: BlobRef): BlobRef => {
      this.#suspectSinceMs.delete(blob.sha256);
      return blob;
    };
    return {
      ...blobs,
      size: (sha256) => {
        this.#suspectSinceMs.delete(sha256);
        return blobs.size(sha256);
      },
      put: async (bytes) => named(await blobs.put(bytes)),
      write: async (fill) => named(await blobs.write(fill)),
    };
  }

  /** @param inUse hashes beside those of the runs: of tasks that are handed out */
  async sweep(runs: readonly Run[], inUse: Iterable<string>): Promise<number> {
    const now = this.#clock.monotonic();
    if (this.#sweeping || (this.#sweptAtMs !== undefined && now - this.#sweptAtMs < this.#pace.everyMs))
      return 0;
    this.#sweeping = true;
    this.#sweptAtMs = now;
    try {
      const live = new Set([...runs.flatMap((run) => [...hashesOf(run)]), ...inUse]);
      const there = await this.#blobs.list();
      for (const known of this.#suspectSinceMs.keys())
        if (live.has(known)) this.#suspectSinceMs.delete(known);
      let deleted = 0;
      for (const sha256 of there) {
        if (live.has(sha256)) continue;
        const since = this.#suspectSinceMs.get(sha256);
        if (since === undefined) this.#suspectSinceMs.set(sha256, now);
        if (since === undefined || now - since < this.#pace.suspectMs) continue;
        await this.#blobs.delete(sha256);
        this.#suspectSinceMs.delete(sha256);
        deleted++;
      }
      return deleted;
    } finally {
      this.#sweeping = false;
    }
  }
}

/** Every blob that a run's future may read. */
export function* hashesOf(run: Run): Generator<string> {
  const { global, state, baseDelta, outcome, round, next, kept } = run;
  const refs = (...found: readonly (AdapterRef | BlobRef | undefined)[]): string[] =>
    found.flatMap((ref) =>
      ref === undefined ? [] : "sha256" in ref ? [ref.sha256] : [ref.config.sha256, ref.model.sha256],
    );
  yield* refs(global, state, baseDelta, outcome?.global, outcome?.state, outcome?.baseDelta);
  const cohorts: Members[] = [round, next].flatMap((open) => (open === undefined ? [] : [open.members]));
  for (const entry of kept) {
    yield* refs(entry.global, entry.state, entry.baseDelta);
    if (entry.updates !== undefined) cohorts.push(entry.updates);
  }
  for (const member of cohorts.flatMap((cohort) => [...cohort.values()])) {
    if (member.status !== "waiting" && member.status !== "received") continue;
    const { start } = member;
    yield* refs(start?.global, start?.state, start?.baseDelta);
    if (member.status === "received") {
      const { adapter, extras } = member.update;
      yield* refs(adapter, ...Object.values(extras));
    }
  }
}
