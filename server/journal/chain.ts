/** The hash chain of a run's journal: a flipped bit anywhere is found where it is, before anything follows from it. */
import { canonicalJson, sha256 } from "../../base/hash.ts";
import { contradiction } from "../round.ts";
import type { RunRow, StoredEvent } from "./store.ts";

export interface Link {
  readonly seq: number;
  readonly atMs: number;
  /** The event as it was written. */
  readonly json: string;
  readonly hash: string;
}

/**
 * What the first event's hash begins from: the run itself, so that its configuration is covered too.
 *
 * @param row as it was written: a newer fedloom reads more into an old configuration, and must not hash that
 */
export function chainStart({
  id,
  key,
  config,
  createdAtMs,
}: Omit<RunRow, "config"> & { readonly config: unknown }): string {
  return sha256(canonicalJson({ id, key, config, createdAtMs }));
}

export function linkOf(before: string, { seq, atMs, event }: StoredEvent): Link {
  const json = JSON.stringify(event);
  return { seq, atMs, json, hash: hashOf(before, seq, atMs, json) };
}

/** @throws FedloomError F4001 at the first link that does not follow from the ones before it */
export function readChain(run: string, start: string, links: Iterable<Link>): StoredEvent[] {
  const events: StoredEvent[] = [];
  let before = start;
  for (const { seq, atMs, json, hash } of links) {
    if (seq !== events.length + 1)
      throw contradiction(`event ${events.length + 1} of run "${run}" is missing`);
    if (hash !== hashOf(before, seq, atMs, json)) {
      throw contradiction(`event ${seq} of run "${run}" is not what was written`);
    }
    // as: the hash proves that these are the bytes of an event that we wrote.
    events.push({ seq, atMs, event: JSON.parse(json) as StoredEvent["event"] });
    before = hash;
  }
  return events;
}

function hashOf(before: string, seq: number, atMs: number, json: string): string {
  return sha256(`${before} ${seq} ${atMs} ${json}`);
}
