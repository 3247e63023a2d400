/** What a report says beside its tables: what ran, where, and how to run it again. */
import { availableParallelism, cpus, totalmem } from "node:os";
import type { ReplayProfile } from "../profiles.ts";
import type { Replayed } from "../replay.ts";

export interface ReportFacts {
  readonly profile: ReplayProfile;
  readonly replayed: Replayed;
  readonly model: string;
  readonly baseModel: string;
  readonly drawn: boolean;
  readonly command: string;
  /** Cells at a time, and threads of each. */
  readonly jobs: number;
  readonly threads: number;
  readonly version: string;
}

export function environment(): readonly (readonly [string, string])[] {
  return [
    ["processor", `${cpus()[0]?.model ?? "unknown"}, ${availableParallelism()} threads usable`],
    ["memory", `${Math.round(totalmem() / 2 ** 30)} GiB`],
    ["runtime", `Node ${process.versions.node} on ${process.platform} ${process.arch}`],
  ];
}
