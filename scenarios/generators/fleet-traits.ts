/** What clients are, beside their data: their device, who is away when, and who does harm. */
import { FedloomError } from "../../base/errors.ts";
import type { Rng } from "../../base/rng.ts";
import { apportion, requireWithin } from "./assignment.ts";

/** One class for each client: exact shares, which need not sum to 1, in random places. */
export function dealDevices<Device extends { readonly share: number }>(
  classes: readonly Device[],
  clients: number,
  rng: Rng,
): Device[] {
  const sum = classes.reduce((all, one) => all + one.share, 0);
  if (!(sum > 0) || classes.some((one) => one.share < 0)) {
    throw new FedloomError("F6001", "Cannot deal devices: shares must not be negative and not all 0", {
      sum,
    });
  }
  const counts = apportion(
    classes.map((one) => one.share),
    clients,
  );
  return rng.shuffle(classes.flatMap((one, i) => new Array<Device>(counts[i]!).fill(one)));
}

/** Round x client: away, or how many times slower than usual. */
export type AvailabilityTrace = readonly (readonly ("away" | number)[])[];

/**
 * Who is there in which round, and how slow.
 *
 * Absence comes in stretches (a two-state Markov chain): a client away stays away with chance `stay`, and the long-run
 * share of absence is `away`. Stragglers are drawn anew each round.
 */
export function drawAvailability(
  setting: {
    rounds: number;
    clients: number;
    away: number;
    stay: number;
    stragglers: number;
    slowness: number;
  },
  rng: Rng,
): AvailabilityTrace {
  const { away, stay } = setting;
  requireWithin("the share of absence", away, 0, 0.95);
  requireWithin("the chance to stay away", stay, 0, 0.99);
  requireWithin("the share of stragglers", setting.stragglers, 0, 1);
  // Stationary: away·(1 − stay) = (1 − away)·leave.
  const leave = away === 0 ? 0 : (away * (1 - stay)) / (1 - away);
  if (leave > 1) {
    throw new FedloomError(
      "F6001",
      `Cannot draw absences: a share of ${away} with stretches this short needs stay of at least ${((2 * away - 1) / away).toFixed(3)}, got ${stay}`,
      { away, stay },
    );
  }
  const columns = Array.from({ length: setting.clients }, (_, client) => {
    const own = rng.fork("client", client);
    let isAway = own.uniform() < away;
    return Array.from({ length: setting.rounds }, (_, round) => {
      if (round > 0) isAway = own.uniform() < (isAway ? stay : leave);
      const slow = own.uniform() < setting.stragglers;
      return isAway ? ("away" as const) : slow ? setting.slowness : 1;
    });
  });
  return Array.from({ length: setting.rounds }, (_, round) => columns.map((column) => column[round]!));
}

/** What a poisoned client does: answers the wrong option in training, or sends a changed update. */
export type Poison = "label-flip" | "sign-flip" | "noise" | "scale";

/** Which clients a trait falls on: exactly `count`, at random, in ascending order. */
export function chooseClients(count: number, clients: number, rng: Rng): number[] {
  requireWithin("the number of chosen clients", count, 0, clients);
  return rng
    .sample(
      Array.from({ length: clients }, (_, i) => i),
      count,
    )
    .sort((a, b) => a - b);
}
