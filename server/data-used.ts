/**
 * What a run was trained and evaluated on, as fingerprints (data/fingerprint.ts): an entry whenever it changed. Made from
 * the journal alone, so it is the same after a restart.
 */
import type { Run, RunEvent } from "./run/state.ts";

export interface DataVersion {
  /** The first round in which it was so. */
  readonly since: number;
  /** As the update counts them; absent for held-out examples, whose metrics have no counts. */
  readonly examples?: number;
  /** Absent where a client, or its older software, tells none. */
  readonly fingerprint?: string;
}

export interface DataUsed {
  /** Keyed by the clients themselves: comparable for one client only. */
  readonly clients: Map<string, readonly DataVersion[]>;
  /** The coordinator's own held-out examples, without a key: comparable everywhere. */
  heldOut: readonly DataVersion[];
}

export function noData(): DataUsed {
  return { clients: new Map(), heldOut: [] };
}

/**
 * @param run the state that the event meets
 * @returns the client whose data is not what it was in an earlier round, if this event tells of one
 */
export function noteData(used: DataUsed, run: Run, event: RunEvent): string | undefined {
  if (event.type === "evaluated" && event.dataFingerprint !== undefined) {
    used.heldOut = withVersion(used.heldOut, { since: run.number, fingerprint: event.dataFingerprint });
    return undefined;
  }
  if (event.type !== "update received") return undefined;
  const { client, round: since, update } = event;
  const { examples, dataFingerprint: fingerprint } = update;
  const before = used.clients.get(client) ?? [];
  const version = { since, examples, ...(fingerprint !== undefined && { fingerprint }) };
  const after = withVersion(before, version);
  used.clients.set(client, after);
  return before.length > 0 && after !== before ? client : undefined;
}

/** The same list where nothing changed. Where no fingerprint says so, the number of examples must do. */
function withVersion(versions: readonly DataVersion[], next: DataVersion): readonly DataVersion[] {
  const last = versions.at(-1);
  const same =
    last !== undefined &&
    last.fingerprint === next.fingerprint &&
    (next.fingerprint !== undefined || last.examples === next.examples);
  return same ? versions : [...versions, next];
}

/** Whether a round brought anything that the manifest does not have yet. */
export function changedIn({ clients, heldOut }: DataUsed, round: number): boolean {
  return [heldOut, ...clients.values()].some((versions) => versions.at(-1)?.since === round);
}
