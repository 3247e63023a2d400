/**
 * Asynchronous rounds as data: which updates lie in which buffer follows from their order of arrival alone, so that
 * a journal of arrivals replays to the same bits.
 */

/** An update as it arrived. */
export interface Arrival {
  readonly client: string;
  /** The round whose global adapter the client started from. */
  readonly base: number;
}

export interface Buffer {
  /** Rounds closed so far. */
  readonly round: number;
  readonly waiting: readonly Arrival[];
}

export const EMPTY_BUFFER: Buffer = { round: 0, waiting: [] };

export interface Step {
  readonly buffer: Buffer;
  /** The updates of a round that this arrival fills, each with its staleness; clients appear once. */
  readonly closed?: readonly (Arrival & { readonly staleness: number })[];
  /** The arrival that is not used, and why. */
  readonly dropped?: { readonly arrival: Arrival; readonly reason: "too stale" | "replaced" };
}

/**
 * Takes one arrival in.
 *
 * A client that arrives again before the buffer is full replaces its older update: an average counts each client once.
 *
 * @param size K, updates that close a round
 * @param maxStaleness rounds that the global adapter may have moved on since the client's own
 * @throws RangeError for an update of a round that is not closed yet
 */
export function arrive(
  { round, waiting }: Buffer,
  arrival: Arrival,
  {
    size,
    maxStaleness = Number.POSITIVE_INFINITY,
  }: { readonly size: number; readonly maxStaleness?: number },
): Step {
  if (arrival.base > round || arrival.base < 0) {
    throw new RangeError(`An update cannot start from round ${arrival.base}: ${round} are closed`);
  }
  if (round - arrival.base > maxStaleness) {
    return { buffer: { round, waiting }, dropped: { arrival, reason: "too stale" } };
  }
  const older = waiting.find(({ client }) => client === arrival.client);
  const next = [...waiting.filter((other) => other !== older), arrival];
  const dropped = older === undefined ? {} : { dropped: { arrival: older, reason: "replaced" as const } };
  if (next.length < size) return { buffer: { round, waiting: next }, ...dropped };
  return {
    buffer: { round: round + 1, waiting: [] },
    closed: next.map((update) => ({ ...update, staleness: round - update.base })),
    ...dropped,
  };
}
