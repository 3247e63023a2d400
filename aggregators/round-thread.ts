/** One thread's share of a round: the rule over some of the tensors, read from the same files. */
import { parentPort } from "node:worker_threads";
import type { Adapter } from "../adapters/adapter.ts";
import { createHeaderReader } from "../adapters/safetensors-header.ts";
import type { Tensor, TensorSet } from "../adapters/tensor.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { buildStrategy } from "./build.ts";
import { type Measured, measure } from "./diagnostics.ts";
import type { Spec } from "./options.ts";
import { aggregateUpdates, checkHashes, contextOf } from "./round.ts";
import { onlyTensors } from "./selection.ts";
import { apart } from "./shared-tensors.ts";
import type { AggregateResult, StrategyState } from "./strategy.ts";
import { collectUpdates, openUpdates, type UpdateFiles } from "./updates.ts";

export interface Share {
  readonly id: number;
  readonly strategy: Spec;
  readonly wrappers: readonly Spec[];
  readonly state: StrategyState;
  readonly round: number;
  /** Only the tensors of this share. */
  readonly global: Adapter;
  readonly seed: number | string;
  readonly totalClients: number;
  readonly updates: readonly UpdateFiles[];
  /** Files that this share hashes; the others' shares hash the rest, and the round's result wants all of them sound. */
  readonly hashes: readonly (readonly [path: string, sha256: string])[];
  readonly diagnostics: boolean;
  /** How much of the whole round the shares of this piece are. */
  readonly part?: number;
}

export type Answer =
  | { readonly id: number; readonly result: AggregateResult; readonly measured?: Measured }
  | {
      readonly id: number;
      readonly error: {
        readonly code?: string;
        readonly message: string;
        readonly details: Record<string, unknown>;
      };
    };

/** Of the round at hand: where it is done piece by piece, its files are opened for each of hundreds of pieces. */
let headerOf = createHeaderReader();

function work(share: Share): { result: AggregateResult; measured?: Measured } {
  checkHashes(share.hashes);
  const built = buildStrategy(share.strategy, share.wrappers);
  if (share.part === undefined) headerOf = createHeaderReader();
  const { entries, close } = openUpdates(share.updates, headerOf);
  try {
    const updates = onlyTensors(collectUpdates(entries), (name) => share.global.tensors.has(name));
    const result = aggregateUpdates(built, share.state, contextOf({ ...share, built }), updates);
    if (!share.diagnostics) return { result };
    return { result, measured: measure(share.global, result, updates, share.part) };
  } finally {
    close();
  }
}

/** Buffers that hold nothing but one tensor each: they move to the other thread instead of being copied. */
function ownedBuffers(sets: readonly TensorSet[], input: Share): ArrayBuffer[] {
  const kept = new Set<Tensor>(
    [...setsOf(input.state), input.global.tensors].flatMap((set) => [...set.values()]),
  );
  const buffers = sets
    .flatMap((set) => [...set.values()])
    .filter((tensor) => !kept.has(tensor) && tensor.data.byteLength === tensor.data.buffer.byteLength)
    .flatMap(({ data }) => (data.buffer instanceof ArrayBuffer ? [data.buffer] : [])); // shared memory stays
  return [...new Set(buffers)];
}

/** What the rule left as it was lies in memory that the next round writes over. */
function handedBack(result: AggregateResult, laid: TensorSet): AggregateResult {
  const { global, baseDelta, state } = result;
  const sets = Object.entries(state.tensors).map(([name, set]) => [name, apart(set, laid)] as const);
  return {
    ...result,
    global: { ...global, tensors: apart(global.tensors, laid) },
    ...(baseDelta !== undefined && {
      baseDelta: { ...baseDelta, tensors: apart(baseDelta.tensors, laid) },
    }),
    state: { scalars: state.scalars, tensors: Object.fromEntries(sets) },
  };
}

function setsOf({ tensors }: StrategyState): TensorSet[] {
  return Object.values(tensors);
}

parentPort?.on("message", (share: Share) => {
  try {
    const { result: made, measured } = work(share);
    const result = handedBack(made, share.global.tensors);
    const sets = [result.global.tensors, result.baseDelta?.tensors ?? new Map(), ...setsOf(result.state)];
    parentPort?.postMessage(
      { id: share.id, result, ...(measured && { measured }) } satisfies Answer,
      ownedBuffers(sets, share),
    );
  } catch (error) {
    const known =
      error instanceof FedloomError ? { code: error.code, details: { ...error.details } } : { details: {} };
    parentPort?.postMessage({
      id: share.id,
      error: { ...known, message: messageOf(error) },
    } satisfies Answer);
  }
});
