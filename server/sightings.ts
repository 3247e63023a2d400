/**
 * When each client was here last, across restarts of the coordinator. For people only: nothing is decided by it, so it is
 * written seldom, many clients at a time, and without waiting for the disk.
 */
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Presence } from "./presence.ts";

/** Milliseconds since 1970, by client. */
export type Seen = ReadonlyMap<string, number>;

export interface Sightings {
  read(): Promise<Seen>;
  /** Adds to what is there. A crash of the machine may lose what was written a moment ago. */
  write(seen: Seen): Promise<void>;
}

/** Who comes or goes is written with all others of the same moment: a thousand that come back at once are one commit. */
const GATHER_MS = 1_000;
/** Of a client that stays, a crash of the coordinator loses no more than this. */
const REFRESH_MS = 60_000;

export interface SightingsParts {
  readonly sightings: Sightings;
  readonly presence: Presence;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Tells `presence` who was here before, and keeps what it sees from here on.
 *
 * @returns writes the rest and ends
 */
export async function keepSightings(parts: SightingsParts): Promise<() => Promise<void>> {
  const { sightings, presence, clock, log } = parts;
  const written = new Map(await sightings.read());
  for (const [client, atMs] of written) presence.remember(client, atMs);

  const write = async (refreshMs: number): Promise<void> => {
    const news = new Map<string, number>();
    for (const client of presence.known()) {
      const atMs = presence.lastSeenAtMs(client);
      if (atMs === undefined) continue;
      const before = written.get(client);
      // A client that is here is seen at every moment; one that is away was seen at one.
      const least = presence.session(client) === undefined ? 1 : refreshMs;
      if (before === undefined || Math.abs(atMs - before) >= least) news.set(client, atMs);
    }
    if (news.size === 0) return;
    try {
      await sightings.write(news);
      for (const [client, atMs] of news) written.set(client, atMs);
    } catch (error) {
      log.warn("When clients were seen cannot be written", { reason: messageOf(error) });
    }
  };

  let cancelGathering: (() => void) | undefined;
  const stopListening = presence.onChange(() => {
    cancelGathering ??= clock.after(GATHER_MS, () => {
      cancelGathering = undefined;
      void write(REFRESH_MS);
    });
  });
  let cancelRefresh = (): void => undefined;
  const refresh = (): void => {
    cancelRefresh = clock.after(REFRESH_MS, () => {
      void write(REFRESH_MS);
      refresh();
    });
  };
  refresh();

  return async () => {
    stopListening();
    cancelGathering?.();
    cancelRefresh();
    await write(1);
  };
}
