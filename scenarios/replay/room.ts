/** Whether a replay has the memory and the disk that it will take, told before it starts. */
import { readdirSync, statfsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { FedloomError } from "../../base/errors.ts";
import { STANDINS } from "../../data/standins/index.ts";
import { openModelDirectory } from "../../training/models/model-directory.ts";
import { keptBytes } from "../../training/onnx/sessions.ts";
import type { ReplayProfile } from "./profiles.ts";

export interface Room {
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

/** A row of a stand-in with its picture on disk: 3.6 KiB were measured for the quick profile. */
const ROW_BYTES = 5 * 2 ** 10;
/** A cell's file, and its part of the report, which says all of it again. */
const CELL_BYTES = 64 * 2 ** 10;
/** The report's pictures, and the log. */
const REPORT_BYTES = 64 * 2 ** 20;
/** The process with data, fleet and gradients: 288 MiB were measured with the smallest model. */
const PROCESS_BYTES = 400 * 2 ** 20;
/** Engines that are open at once, with the weights and their sessions each: of the decoder alone, and of the encoder too. */
const ENGINES = 2;
/** What sessions hold beside the estimate that bounds them: the runtime's arenas double as they grow. */
const ARENA_FACTOR = 2;

export interface ReplaySize {
  readonly profile: ReplayProfile;
  readonly cells: number;
  /** Model directory. */
  readonly model: string;
  /** Whether stand-ins are drawn. */
  readonly drawn: boolean;
  /** Cells that run at a time. */
  readonly jobs: number;
}

export function freeRoom(directory: string): Room {
  const { bavail, bsize } = statfsSync(directory);
  return { memoryBytes: process.availableMemory(), diskBytes: bavail * bsize };
}

/** An estimate for the memory: a step of a large batch may take more than all sessions that are kept. */
export async function roomFor({ profile, cells, model, drawn, jobs }: ReplaySize): Promise<Room> {
  const rows = STANDINS.reduce((sum, { sizes }) => {
    const { train, test } = sizes[profile.data];
    return sum + train + test;
  }, 0);
  return {
    memoryBytes: jobs * (await jobBytes(model)),
    diskBytes: REPORT_BYTES + cells * CELL_BYTES + (drawn ? rows * ROW_BYTES : 0),
  };
}

/** Of a job's process with its sessions. */
export async function jobBytes(model: string): Promise<number> {
  const { graphs } = await openModelDirectory(model);
  const weights = Object.values(graphs).reduce((sum, path) => sum + graphBytes(path), 0);
  return PROCESS_BYTES + ENGINES * (weights + ARENA_FACTOR * keptBytes(weights));
}

/** @throws FedloomError F6024 with what is wanted and what is there */
export function requireRoom(wanted: Room, free: Room): void {
  const short = (["memory", "disk"] as const).flatMap((kind) => {
    const [want, have] = [wanted[`${kind}Bytes`], free[`${kind}Bytes`]];
    return have >= want
      ? []
      : [`about ${mebibytes(want)} of ${kind} are wanted, ${mebibytes(have)} are free`];
  });
  if (short.length === 0) return;
  throw new FedloomError("F6024", `Cannot replay: ${short.join("; ")}`, { wanted, free });
}

/** A graph with its external data, which lies beside it under a name that begins with the graph's. */
function graphBytes(path: string): number {
  const folder = dirname(path);
  const files = readdirSync(folder).filter((name) => name.startsWith(basename(path)));
  return files.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
