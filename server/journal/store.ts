/**
 * Where runs and their events are kept.
 *
 *  1. What `append` and `createRun` resolved for is on disk.
 *  2. Events of a run come back in order and unchanged, or `read` throws: each one's hash covers those before it.
 *  3. One coordinator at a time: a second one that opens the same store is refused (F4002).
 */
import type { RunConfig } from "../../config/run.ts";
import type { RunEvent } from "../run/state.ts";
import type { AuditEntry, Trail } from "./trail.ts";

export interface RunRow {
  readonly id: string;
  /** The submitter's key: the same key again means the same run. */
  readonly key: string;
  readonly config: RunConfig;
  readonly createdAtMs: number;
}

export interface StoredEvent {
  /** From 1, without gaps. */
  readonly seq: number;
  /** Wall clock, for people; nothing is decided by it. */
  readonly atMs: number;
  readonly event: RunEvent;
}

export interface Store {
  readonly trail: Trail;
  /** Run, events that it begins with and who began it: all of it is kept, or nothing. */
  createRun(row: RunRow, begun?: readonly StoredEvent[], entry?: AuditEntry): Promise<void>;
  /** In order of creation. */
  runs(): Promise<readonly RunRow[]>;
  /**
   * All events or none.
   *
   * @param after sequence number of the last event that the writer knows
   * @throws FedloomError F4001 where the journal has moved on without the writer, F4004 where the disk refuses
   */
  append(run: string, after: number, events: readonly StoredEvent[]): Promise<void>;
  /** Events after a sequence number. @throws FedloomError F4001 where they are not what was written */
  read(run: string, after?: number): Promise<readonly StoredEvent[]>;
  close(): Promise<void>;
}
