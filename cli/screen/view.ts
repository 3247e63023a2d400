/** What the screen shows of a run, whoever coordinates it: this process, or one far away over HTTP. */

export type ViewStatus = "waiting" | "running" | "finished" | "failed" | "stopped";

export interface FailureView {
  readonly client: string;
  readonly round: number;
  /** What the client was doing: "fetch", "train", "push", "deadline". */
  readonly phase: string;
  readonly code: string;
  readonly message: string;
}

export interface ClientView {
  readonly id: string;
  /** What it has to train on, such as "96 image+text". */
  readonly holds: string;
  /** "away", "ready", a phase of its task ("fetch", "train", "evaluate", "push"), "done" or "failed". */
  readonly doing: string;
  /** Steps or bytes of that phase; 0 of 0 where it does not count. */
  readonly done: number;
  readonly total: number;
  readonly loss?: number;
  readonly downBytes: number;
  readonly upBytes: number;
}

export interface RoundView {
  readonly round: number;
  /** Clients whose updates were aggregated, and those that failed. */
  readonly ok: number;
  readonly failed: number;
  /** Mean training loss of the clients, weighted by their examples. */
  readonly loss?: number;
  /** The held-out metrics of the new global adapter. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly downBytes: number;
  readonly upBytes: number;
  readonly durationMs: number;
}

export interface RunView {
  readonly id: string;
  readonly name: string;
  readonly status: ViewStatus;
  /** What the coordinator itself does: "choosing", "collecting", "aggregating", "evaluating", "publishing". */
  readonly phase: string;
  /** The round that is under way; 0 before the first. */
  readonly round: number;
  readonly rounds: number;
  /** Why it failed, was stopped or waits. */
  readonly reason?: string;
  readonly elapsedMs: number;
  readonly clients: readonly ClientView[];
  /** Finished rounds, in order. */
  readonly history: readonly RoundView[];
  readonly failures: readonly FailureView[];
}

export function hasEnded(view: RunView): boolean {
  return view.status === "finished" || view.status === "failed" || view.status === "stopped";
}
