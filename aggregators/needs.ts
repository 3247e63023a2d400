/** What a run asks of its strategy, checked before round 1, so that nobody trains for a round that must fail. */
import { FedloomError } from "../base/errors.ts";
import { mixesRanks } from "../config/fleet.ts";
import { isAsync, quorumOf, type RunConfig } from "../config/run.ts";
import type { Needs } from "./strategy.ts";

/** What a run, or one round of it, is; what is absent is not looked at. */
export interface RunFacts {
  /** Updates that a round is closed with at least. */
  readonly quorum?: number;
  readonly rounds?: number;
  /** Clients train adapters of different ranks. */
  readonly heterogeneousRanks?: boolean;
  /** The base model's weights are stored in fewer than 16 bits, and base deltas must be merged into them. */
  readonly mergedIntoQuantizedBase?: boolean;
  /** Single updates are hidden, and their sum alone is seen. No run file can ask for it yet. */
  readonly secureAggregation?: boolean;
  /** Updates may start from older global adapters. */
  readonly asynchronous?: boolean;
  /** How updates travel. */
  readonly codec?: string;
  /** The run's adapter has cores. */
  readonly core?: boolean;
}

/** What a run file says of its run. */
export function factsOf(config: RunConfig): RunFacts {
  return {
    quorum: quorumOf(config),
    rounds: config.rounds,
    asynchronous: isAsync(config),
    heterogeneousRanks: mixesRanks(config),
    core: config.adapter.core,
    codec: config.codec,
  };
}

/**
 * @param name what messages call the strategy
 * @throws FedloomError F3112 (F3103 for a quorum below the minimum) with every conflict
 */
export function checkNeeds(name: string, needs: Needs, run: RunFacts): void {
  if (run.quorum !== undefined && run.quorum < needs.minUpdates) {
    throw new FedloomError(
      "F3103",
      `Cannot run strategy "${name}": it needs at least ${needs.minUpdates} updates a round, got a quorum of ${run.quorum}`,
      { strategy: name, needed: needs.minUpdates, got: run.quorum },
    );
  }
  const conflicts = [
    run.secureAggregation === true &&
      needs.readsSingleUpdates &&
      "it reads single updates, and secure aggregation shows only their sum",
    run.heterogeneousRanks === true &&
      needs.heterogeneousRanks !== true &&
      "it takes one rank for all clients",
    run.mergedIntoQuantizedBase === true &&
      needs.quantizedBase !== true &&
      "it changes the base model, and a quantized base cannot take the change exactly",
    run.asynchronous === true && needs.asynchronous !== true && "it takes only updates of the current round",
    needs.prunesRanks === true &&
      (run.codec ?? "fp32") !== "fp32" &&
      `its clients prune their ranks, and codec "${run.codec}" counts from a handed-out adapter of the same shape: set codec to "fp32", or the strategy's keep to 1`,
    run.core === false &&
      needs.core === true &&
      "it trains a core between the factors: set adapter.core to true",
    run.core === true && needs.core !== true && "it trains the factors, and adapter.core fixes them",
    needs.rounds !== undefined &&
      run.rounds !== undefined &&
      run.rounds > needs.rounds &&
      `it is made for ${needs.rounds} ${needs.rounds === 1 ? "round" : "rounds"}, got ${run.rounds}`,
  ].filter((conflict) => conflict !== false);
  if (conflicts.length > 0) {
    throw new FedloomError("F3112", `Cannot run strategy "${name}": ${conflicts.join("; ")}`, {
      strategy: name,
      conflicts,
    });
  }
}

/** @throws FedloomError F3103 where a round brought fewer updates than the strategy needs */
export function checkCount(name: string, needs: Needs, round: number, updates: number): void {
  if (updates >= needs.minUpdates) return;
  throw new FedloomError(
    "F3103",
    `Cannot aggregate round ${round} with "${name}": at least ${needs.minUpdates} usable updates are wanted, got ${updates}`,
    { strategy: name, round, needed: needs.minUpdates, got: updates },
  );
}
