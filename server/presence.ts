/**
 * Who is connected, and who was a moment ago. A client that is away for less than the idle timeout counts as
 * present: it may be restarting. After a restart of the coordinator everybody who took part before is such a client.
 */
import type { Clock } from "../base/clock.ts";
import { FedloomError } from "../base/errors.ts";
import type { ConnectResponse, Inventory } from "../proto/gen/fedloom/v1/fleet_pb.ts";

export interface Session {
  readonly client: string;
  readonly inventory: Inventory;
  send(message: ConnectResponse): void;
  /** Whether the client has taken all that it was sent. */
  reads(): boolean;
  end(error?: FedloomError): void;
}

interface Entry {
  session: Session | undefined;
  inventory: Inventory | undefined;
  lastSeenMs: number;
  /** The same by the wall clock, for people; undefined for a client of which nothing is known but that it took part. */
  lastSeenAtMs: number | undefined;
}

export class Presence {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes a connection in; an older one of the same client is ended, since the newer process is the one that lives. */
  join(session: Session): void {
    const entry = this.#entryOf(session.client);
    const older = entry.session;
    entry.session = session;
    entry.inventory = session.inventory;
    this.#see(entry);
    older?.end(
      new FedloomError(
        "F5004",
        `Cannot keep this connection of client "${session.client}": a newer one with the same name took over`,
        { client: session.client },
      ),
    );
    this.#changed();
  }

  leave(session: Session): void {
    const entry = this.#entries.get(session.client);
    if (entry?.session !== session) return;
    entry.session = undefined;
    this.#see(entry);
    this.#changed();
  }

  /** Counts a client as seen now, though it is not here: it took part before this process began. */
  expectBack(client: string): void {
    this.#entryOf(client).lastSeenMs = this.#clock.monotonic();
  }

  /** Knows a client from before this process began, without counting it as present. */
  remember(client: string, lastSeenAtMs: number): void {
    this.#entryOf(client).lastSeenAtMs = lastSeenAtMs;
  }

  session(client: string): Session | undefined {
    return this.#entries.get(client)?.session;
  }

  /** When a client was here last, by the wall clock; now, while it is. */
  lastSeenAtMs(client: string): number | undefined {
    const entry = this.#entries.get(client);
    return entry?.session === undefined ? entry?.lastSeenAtMs : this.#clock.now();
  }

  inventory(client: string): Inventory | undefined {
    return this.#entries.get(client)?.inventory;
  }

  /** Clients here, or away for less than `awayMs`; in byte order. */
  present(awayMs: number): string[] {
    const now = this.#clock.monotonic();
    return [...this.#entries]
      .filter(([, { session, lastSeenMs }]) => session !== undefined || now - lastSeenMs < awayMs)
      .map(([client]) => client)
      .sort();
  }

  /** Everybody this process knows of. */
  known(): string[] {
    return [...this.#entries.keys()].sort();
  }

  /** Calls back whenever somebody comes or goes. @returns takes it back */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #entryOf(client: string): Entry {
    const entry = this.#entries.get(client) ?? {
      session: undefined,
      inventory: undefined,
      lastSeenMs: Number.NEGATIVE_INFINITY,
      lastSeenAtMs: undefined,
    };
    this.#entries.set(client, entry);
    return entry;
  }

  #see(entry: Entry): void {
    entry.lastSeenMs = this.#clock.monotonic();
    entry.lastSeenAtMs = this.#clock.now();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
