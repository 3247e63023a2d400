/** `fleet.availability`: a client that is away in a round is not drawn for it. */
import type { Sampler } from "../../server/ports.ts";

/** Draws as `sampler` does, from the clients that are there. Absence follows the round's number, not time. */
export function amongPresent(sampler: Sampler, isAway: (round: number, client: string) => boolean): Sampler {
  return (draw) => {
    const eligible = draw.eligible.filter((client) => !isAway(draw.round, client));
    return sampler({ ...draw, eligible, count: Math.min(draw.count, eligible.length) });
  };
}
