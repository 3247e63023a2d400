/** What a run was made with, so that it can be made again, and so that one sees what was not the same. */
import { canonicalJson, sha256 } from "../base/hash.ts";
import type { DataUsed, DataVersion } from "./data-used.ts";
import type { RunRow } from "./journal/store.ts";
import type { Run } from "./run/state.ts";

export interface Manifest {
  readonly schema: "fedloom.manifest/1";
  readonly run: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly software: string;
  readonly node: string;
  readonly platform: string;
  readonly seed: number;
  /** SHA-256 of the resolved configuration's canonical JSON. */
  readonly config: string;
  /** SHA-256 of the base model, and of the adapter that round 1 was handed; absent until the run is prepared. */
  readonly base?: string;
  readonly firstAdapter?: string;
  readonly data: {
    readonly clients: Readonly<Record<string, readonly DataVersion[]>>;
    readonly heldOut: readonly DataVersion[];
  };
}

export function manifestOf(row: RunRow, run: Run, used: DataUsed, software: string): Manifest {
  const { id, config, createdAtMs } = row;
  const clients = [...used.clients].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    schema: "fedloom.manifest/1",
    run: id,
    name: config.name,
    createdAtMs,
    software,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    seed: config.seed,
    config: sha256(canonicalJson(config)),
    ...(run.base !== "" && { base: run.base }),
    // The first entry that is kept is the adapter that the run began with.
    ...(run.kept[0] !== undefined && { firstAdapter: run.kept[0].global.model.sha256 }),
    data: { clients: Object.fromEntries(clients), heldOut: used.heldOut },
  };
}
