/** A coordinator process and client processes with the toy trainer, and what tests look at afterwards. */

import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { silentLog } from "../../base/log.ts";
import { runConfig } from "../../config/run.ts";
import { startFleet } from "../../scenarios/fleet/fleet.ts";
import { createToyTrainer, toyExamples } from "../toy-trainer.ts";
import { type Child, startProcess, temporaryDirectory } from "./processes.ts";
import type { ToyClientOptions } from "./toy-client.ts";
import type { ToyCoordinatorOptions } from "./toy-coordinator.ts";

export type Environment = Readonly<Record<string, string>>;

export interface Federation {
  readonly directory: string;
  /** Where the coordinator listens, in every life of it. */
  readonly address: string;
  coordinator(environment?: Environment): Child;
  client(name: string, options?: Partial<ToyClientOptions>, environment?: Environment): Child;
  /** The seeds of all trainings that began or that came to their end, in order: one a client and round if no work was done twice. */
  trainings(which?: "begin" | "end"): string[];
}

export const RUN: ToyCoordinatorOptions["run"] = {
  name: "toy",
  model: "toy",
  rounds: 4,
  seed: 7,
  cohort: { perRound: 2, quorum: 2, deadline: "30m", idle: "10m" },
};

export async function federation(
  options: { run?: Partial<ToyCoordinatorOptions["run"]>; width?: number } = {},
): Promise<Federation> {
  const directory = temporaryDirectory();
  const address = `127.0.0.1:${await freePort()}`;
  const ledger = join(directory, "ledger");
  const { run, ...more } = options;
  return {
    directory,
    address,
    coordinator(environment) {
      const given: ToyCoordinatorOptions = {
        state: join(directory, "coordinator"),
        listen: address,
        run: { ...RUN, ...run },
        ...more,
      };
      return startProcess(program("toy-coordinator.ts"), [JSON.stringify(given)], environment);
    },
    client(name, given = {}, environment = {}) {
      const full: ToyClientOptions = {
        join: address,
        name,
        state: join(directory, name),
        ledger,
        ...given,
      };
      return startProcess(program("toy-client.ts"), [JSON.stringify(full)], environment);
    },
    trainings(which = "end") {
      const lines = existsSync(ledger) ? readFileSync(ledger, "utf8").split("\n") : [];
      return lines.filter((line) => line.startsWith(`${which} `)).map((line) => line.slice(which.length + 1));
    },
  };
}

/** What `finished <hash>` says. @throws Error where the run stopped */
export async function finalHash(coordinator: Child, deadlineMs?: number): Promise<string> {
  const [line, hash] = await coordinator.line(/^finished ([0-9a-f]{64})$|^stopped .*/, deadlineMs);
  if (hash === undefined) throw new Error(line);
  return hash;
}

/** What the run ends with when nothing disturbs it, as a fleet in this process runs it with the same clients. */
export async function fleetHash({
  rounds = 4,
  width,
}: {
  rounds?: number;
  width?: number;
} = {}): Promise<string> {
  const clients = ["c1", "c2"].map((id) => ({
    id,
    shard: { train: toyExamples(id, 4), heldOut: toyExamples(`${id}-held`, 2) },
  }));
  const config = runConfig.parse({ ...RUN, rounds });
  const trainer = createToyTrainer(width === undefined ? {} : { width });
  const fleet = await startFleet({ config, clients, trainer, device: "cpu", log: silentLog });
  try {
    await fleet.ended;
    return fleet.engine.run.global!.model.sha256;
  } finally {
    await fleet.close();
  }
}

function program(name: string): string {
  return join(import.meta.dirname, name);
}

/** A port that was free a moment ago: a coordinator that is started again must listen where it did. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
