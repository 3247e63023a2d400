/** Where work is done: one run, as far as its work may look at it and change it. */
import type { Aggregator } from "../../aggregators/aggregator.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Blobs } from "../blobs/blobs.ts";
import type { DataUsed } from "../data-used.ts";
import type { Dispatcher } from "../dispatch.ts";
import type { RoundRecord, Times } from "../history.ts";
import type { RunRow, Store } from "../journal/store.ts";
import type { ModelPort, Sampler } from "../ports.ts";
import type { Presence } from "../presence.ts";
import type { Start } from "../records.ts";
import type { Run, RunCommand, RunEvent } from "../run/state.ts";
import type { Materials } from "./task.ts";

export interface EngineParts {
  readonly store: Store;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  readonly presence: Presence;
  readonly dispatcher: Dispatcher;
  readonly model: ModelPort;
  /** Threads for large rounds; without it they are aggregated in this one. */
  readonly aggregator?: Aggregator | undefined;
  readonly samplers: Readonly<Record<string, Sampler>>;
  /** Whether a client may take part at all; everybody may where it is absent. */
  admits?(client: string): boolean;
  /** Where the run's files go; undefined where it leaves none. */
  readonly directory: string | undefined;
  /** The state cannot be written any more: nothing may be acknowledged from here on. */
  onBroken(error: unknown): void;
}

export interface Place {
  readonly parts: EngineParts;
  readonly row: RunRow;
  /** The state as it is now. */
  readonly run: Run;
  /** Of the rounds that are published. */
  readonly rounds: readonly RoundRecord[];
  /** Length of their lines in metrics.jsonl. */
  readonly publishedBytes: number;
  readonly times: Times;
  readonly dataUsed: DataUsed;
  /** The process is about to end: clients are told nothing of it. */
  readonly closed: boolean;
  /** When the open round's time is over, by the monotonic clock. */
  deadlineAtMs: number;
  idleMs(): number;
  materials(start: Start): Promise<Materials>;
  /** @throws FedloomError where the command is refused */
  submit(command: RunCommand): Promise<readonly RunEvent[]>;
}
