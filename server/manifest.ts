/** What a run was made with, so that it can be made again. */
import { canonicalJson, sha256 } from "../base/hash.ts";
import type { RunRow } from "./journal/store.ts";

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
}

export function manifestOf({ id, config, createdAtMs }: RunRow, software: string): Manifest {
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
  };
}
