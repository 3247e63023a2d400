/** Fleets of toy clients, run to their end. */
import type { z } from "zod";
import { silentLog } from "../../../base/log.ts";
import { runConfig } from "../../../config/run.ts";
import { startFleet } from "../../../scenarios/fleet/fleet.ts";
import type { FleetClient } from "../../../scenarios/fleet/shards.ts";
import { RUN } from "../../e2e/federation.ts";
import { createToyTrainer, toyExamples } from "../../toy-trainer.ts";

/** Clients with the data that the toy client processes have. */
export function toyClients(...names: string[]): FleetClient[] {
  return names.map((id) => ({
    id,
    shard: {
      train: toyExamples(id, 4),
      heldOut: toyExamples(`${id}-held`, 2),
    },
  }));
}

export async function runToEnd(
  config: Partial<z.input<typeof runConfig>>,
  clients: FleetClient[],
  more: Partial<Parameters<typeof startFleet>[0]> = {},
) {
  const fleet = await startFleet({
    config: runConfig.parse({ ...RUN, ...config }),
    trainer: createToyTrainer(),
    device: "cpu",
    log: silentLog,
    clients,
    ...more,
  });
  try {
    await fleet.ended;
    return { run: fleet.engine.run, rounds: fleet.engine.rounds };
  } finally {
    await fleet.close();
  }
}
