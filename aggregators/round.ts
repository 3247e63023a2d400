/** One aggregation from end to end: enough updates, the rule, a result that is finite. */
import type { Adapter } from "../adapters/adapter.ts";
import { allFinite } from "../adapters/cast.ts";
import { hashFile } from "../adapters/file-hash.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { createRng } from "../base/rng.ts";
import type { BuiltStrategy } from "./build.ts";
import { diagnose } from "./diagnostics.ts";
import { checkCount } from "./needs.ts";
import type { AggregateContext, AggregateResult, StrategyState, Updates } from "./strategy.ts";
import { collectUpdates, openUpdates, type UpdateFiles } from "./updates.ts";

export interface RoundInput {
  readonly built: BuiltStrategy;
  readonly state: StrategyState;
  readonly round: number;
  readonly global: Adapter;
  /** Of the run; the round draws its own chance from it. */
  readonly seed: number | string;
  readonly totalClients: number;
  /** Checked before (update-check.ts). */
  readonly updates: readonly UpdateFiles[];
  /** SHA-256 that a file must have, by its path; files that are not listed are read as they are. */
  readonly hashes?: ReadonlyMap<string, string>;
  /** Measures the updates as well (diagnostics.ts); true where absent. */
  readonly diagnostics?: boolean;
  /** How much of the whole round this is, where it is done piece by piece (pieces.ts); 1 where absent. */
  readonly part?: number;
}

/**
 * Aggregates updates that lie on disk, tensor by tensor. Equal inputs give equal bits.
 *
 * @throws FedloomError F4005 for a file with another hash, F3103 for too few updates, F3114 where the result is not
 *   finite; the old global stays
 */
export async function aggregateRound(input: RoundInput): Promise<AggregateResult> {
  checkHashes(input.hashes ?? []);
  const { entries, close } = openUpdates(input.updates);
  try {
    const updates = collectUpdates(entries);
    const result = aggregateUpdates(input.built, input.state, contextOf(input), updates);
    if (input.diagnostics === false) return result;
    return { ...result, report: { ...diagnose(input.global, result, updates), ...result.report } };
  } finally {
    close();
  }
}

/** @throws FedloomError F4005 at the first file that is not there or has another hash */
export function checkHashes(hashes: Iterable<readonly [path: string, sha256: string]>): void {
  const damaged = (path: string, why: string, cause?: unknown) =>
    new FedloomError("F4005", `Cannot read "${path}": ${why}`, { path }, { cause });
  for (const [path, sha256] of hashes) {
    let got: string;
    try {
      got = hashFile(path);
    } catch (cause) {
      throw damaged(path, messageOf(cause), cause);
    }
    if (got !== sha256) throw damaged(path, "its bytes have another hash, the disk changed them");
  }
}

export function contextOf({
  round,
  global,
  seed,
  totalClients,
}: Omit<RoundInput, "updates" | "hashes">): AggregateContext {
  return { round, global, totalClients, rng: createRng(seed).fork("aggregate", round) };
}

/** The same for updates that are at hand: tests, and rules inside rules. */
export function aggregateUpdates(
  { name, needs, strategy }: BuiltStrategy,
  state: StrategyState,
  context: AggregateContext,
  updates: Updates,
): AggregateResult {
  checkCount(name, needs, context.round, updates.clients.length);
  const result = strategy.aggregate(state, context, updates);
  const sent = new Set(updates.names);
  const kept = [...context.global.tensors.keys()].filter((tensor) => !sent.has(tensor)).length;
  for (const [tensor, value] of result.global.tensors) {
    if (!allFinite(value)) {
      throw new FedloomError(
        "F3114",
        `Cannot use the result of round ${context.round} with "${name}": tensor "${tensor}" is not finite`,
        { strategy: name, round: context.round, tensor },
      );
    }
  }
  return { ...result, report: { updates: updates.clients.length, kept, ...result.report } };
}
