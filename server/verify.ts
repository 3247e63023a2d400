/** Aggregating a past round again from its blobs: equal hashes show that the adapter is what its updates make. */
import { FedloomError } from "../base/errors.ts";
import type { RunEngine } from "./engine.ts";
import { updatesOf } from "./round.ts";
import { aggregate } from "./work/aggregate.ts";

export interface Verification {
  readonly round: number;
  /** SHA-256 of the global adapter in the journal, and of the one that came out now. */
  readonly recorded: string;
  readonly again: string;
  readonly equal: boolean;
}

/** Rounds whose updates and starting point are still there. */
export function verifiable({ run }: RunEngine): number[] {
  const rounds = new Set(run.kept.map(({ round }) => round));
  return run.kept.flatMap(({ round, updates }) =>
    updates !== undefined && rounds.has(round - 1) ? [round] : [],
  );
}

/**
 * @param round one round; all verifiable ones where it is absent
 * @throws FedloomError F4021 for a round whose blobs are not kept, F4005 for blobs that are damaged
 */
export async function verify(engine: RunEngine, round: number | undefined): Promise<Verification[]> {
  const { run, parts } = engine;
  const able = verifiable(engine);
  if (round !== undefined && !able.includes(round)) {
    throw new FedloomError(
      "F4021",
      `Cannot verify round ${round} of run "${run.id}": updates are kept of ${able.length === 0 ? "no round" : `rounds ${able.join(", ")}`}`,
      { run: run.id, round, kept: able },
    );
  }
  const verifications: Verification[] = [];
  for (const number of round === undefined ? able : [round]) {
    const before = run.kept.find((kept) => kept.round === number - 1)!;
    const after = run.kept.find((kept) => kept.round === number)!;
    const input = {
      config: run.config,
      round: number,
      global: before.global,
      state: before.state,
      totalClients: after.totalClients,
      updates: updatesOf(after.updates!),
    };
    // In the threads that made it: in this one, clients would go unheard for as long as it takes.
    const { global } = await aggregate(parts.blobs, input, parts.aggregator);
    const recorded = after.global.model.sha256;
    const again = global.model.sha256;
    verifications.push({ round: number, recorded, again, equal: recorded === again });
  }
  return verifications;
}
