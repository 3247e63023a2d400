/**
 * How the clients of a fleet differ beside their data, drawn once from the run's seed: the same seed gives the same
 * devices, absences, stragglers and poisoned clients, whatever the cohorts are.
 */
import { FedloomError } from "../../base/errors.ts";
import { createRng } from "../../base/rng.ts";
import type { FleetSection } from "../../config/fleet.ts";
import { isAsync, quorumOf, type RunConfig } from "../../config/run.ts";
import { chooseClients, dealDevices, drawAvailability } from "../generators/fleet-traits.ts";

export interface ClientTraits {
  readonly device: NonNullable<FleetSection["devices"]>[number] | undefined;
  /** Share of wrong answers among its examples, and their kind. */
  readonly labelNoise: Pick<NonNullable<FleetSection["labelNoise"]>, "rate" | "kind"> | undefined;
  readonly poison: Pick<NonNullable<FleetSection["poisoned"]>, "kind" | "strength"> | undefined;
}

export interface FleetTraits {
  readonly clients: readonly ClientTraits[];
  /** Whether the client is away in a round. Rounds count from 1, clients from 0. */
  isAway(round: number, client: number): boolean;
  /** Why the client misses the round's deadline, or undefined where it does not. */
  lateness(round: number, client: number): FedloomError | undefined;
}

/**
 * @param clients how many there are
 * @throws FedloomError F6012 where a round would have fewer clients than its quorum, F6001 for absences that cannot be
 */
export function drawTraits(config: RunConfig, clients: number): FleetTraits {
  const { labelNoise, devices, availability, stragglers, poisoned } = config.fleet ?? {};
  const rng = createRng(config.seed).fork("fleet");
  const choose = (count: number, purpose: string): ReadonlySet<number> =>
    new Set(chooseClients(count, clients, rng.fork(purpose)));
  const trace = drawAvailability(
    {
      rounds: config.rounds,
      clients,
      away: availability?.away ?? 0,
      stay: availability?.stay ?? 0,
      stragglers: stragglers?.share ?? 0,
      slowness: stragglers?.slowness ?? 1,
    },
    rng.fork("trace"),
  );
  for (const [i, round] of trace.entries()) requireQuorum(config, i + 1, round);

  const dealt = devices === undefined ? [] : dealDevices(devices, clients, rng.fork("devices"));
  const noisy = choose(labelNoise === undefined ? 0 : (labelNoise.clients ?? clients), "noisy");
  const harmful = choose(poisoned?.clients ?? 0, "poisoned");
  const fastest = Math.min(...dealt.map(({ slowness }) => slowness));
  return {
    clients: Array.from({ length: clients }, (_, client) => ({
      device: dealt[client],
      labelNoise: noisy.has(client) ? labelNoise : undefined,
      poison: harmful.has(client) ? poisoned : undefined,
    })),
    isAway: (round, client) => trace[round - 1]?.[client] === "away",
    lateness(round, client) {
      const slower = trace[round - 1]?.[client];
      if (stragglers === undefined || typeof slower !== "number") return undefined;
      const device = dealt[client];
      const time = slower * (device === undefined ? 1 : device.slowness / fastest);
      if (time <= stragglers.patience) return undefined;
      return new FedloomError(
        "F6013",
        `Cannot finish round ${round} in time${device === undefined ? "" : ` on a "${device.name}"`}: training takes ${times(time)} the fastest device's time, the round waits ${times(stragglers.patience)} (fleet.stragglers.patience)`,
        { round, time, patience: stragglers.patience },
      );
    },
  };
}

function requireQuorum(config: RunConfig, round: number, trace: readonly ("away" | number)[]): void {
  const there = trace.filter((cell) => cell !== "away").length;
  const quorum = isAsync(config) ? 1 : quorumOf(config); // a buffer is filled by whoever is there
  if (there >= quorum) return;
  throw new FedloomError(
    "F6012",
    `Cannot run "${config.name}": round ${round} would have ${there} of ${trace.length} clients with seed ${config.seed}, its quorum is ${quorum}`,
    { round, there, quorum },
  );
}

/** "2.5 times". */
function times(factor: number): string {
  return `${Number(factor.toFixed(2))} times`;
}
