/** What the coordinator needs of others and may not import: a model to make adapters for and to evaluate with. */
import type { Adapter } from "../adapters/adapter.ts";
import type { RunConfig } from "../config/run.ts";

export interface ModelPort {
  /** The adapter that round 1 is handed: fresh from the run's seed, or read from `adapter.from`. Its `base` names the model. */
  createAdapter(config: RunConfig, signal: AbortSignal): Promise<Adapter>;
  /**
   * Scores on the coordinator's own held-out examples. Long, and blocking where the engine blocks: run it in a thread.
   * Absent where this coordinator cannot evaluate.
   */
  evaluate?(
    config: RunConfig,
    adapter: Adapter,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, number>>>;
  /** Fingerprint of the held-out examples that `evaluate` uses; absent where there is none to tell. */
  heldOutFingerprint?(config: RunConfig, signal: AbortSignal): Promise<string>;
}

export interface Draw {
  readonly seed: number;
  readonly round: number;
  readonly attempt: number;
  /** Of an asynchronous run: the number of the first task that begins with this draw, from 1. */
  readonly draw?: number;
  /** In byte order of ids. */
  readonly eligible: readonly string[];
  readonly count: number;
}

/** Draws a round's clients; equal draws give equal cohorts. Keyed by `cohort.sampling`. */
export type Sampler = (draw: Draw) => readonly string[];
