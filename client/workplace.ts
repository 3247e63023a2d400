/** What every kind of task works with: the place, what was handed out, and how to tell where it is. */
import type { Adapter } from "../adapters/adapter.ts";
import type { TensorSet } from "../adapters/tensor.ts";
import type { Clock } from "../base/clock.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import type { SubmitResultRequest, Task } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import type { Trainer } from "../training/trainer.ts";
import type { Shard } from "./inventory.ts";
import type { ClientState } from "./state.ts";
import type { Transfer } from "./transfer.ts";

/** Where a task is, for progress and for the report of a failure. */
export type Phase = "fetch" | "prepare" | "train" | "evaluate" | "push";

export interface WorkControl {
  readonly signal: AbortSignal;
  onPhase(phase: Phase): void;
  onProgress(done: number, total: number, metrics: Readonly<Record<string, number>>): void;
}

export interface Workplace {
  readonly state: ClientState;
  readonly transfer: Transfer;
  readonly trainer: Trainer;
  readonly shard: Shard;
  /** Fingerprint of the shard's training examples. */
  readonly dataFingerprint?: string;
  readonly clock: Clock;
}

/** What the coordinator handed out with a task. */
export interface Inputs {
  readonly global: Adapter;
  /** SHA-256 of the global adapter's tensors, as they travelled. */
  readonly globalSha256: string;
  readonly corrections: Readonly<Record<string, TensorSet>>;
}

/** The part of a submission that depends on what was done. */
export type Result = Partial<Omit<SubmitResultRequest, "$typeName" | "$unknown">>;

/** Where the coordinator says nothing: as long as a run's `cohort.idle` is by default. */
const DEFAULT_IDLE_MS = 60_000;

export function idleMsOf(task: Task): number {
  return Number(task.idleMs) || DEFAULT_IDLE_MS;
}

/** An error without a code becomes one: its class may leave this machine, its text may hold data and stays here. */
export async function insideTrainer<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    if (cause instanceof FedloomError || (cause instanceof Error && cause.name === "AbortError")) throw cause;
    throw new FedloomError("F5101", messageOf(cause), {}, { cause });
  }
}

export function noExamples(what: string): FedloomError {
  return new FedloomError("F5103", `Cannot ${what}: this client has no examples for it`);
}
