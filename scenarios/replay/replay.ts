/**
 * A replay: cells shared out among jobs, each on disk when it is done. Stopped at any moment and started again it goes
 * on with the first cell that is missing, and ends with the same table.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { FedloomError, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { STANDINS } from "../../data/standins/index.ts";
import { makeStandin } from "../../data/standins/make.ts";
import { DATASET_NAMES, type DatasetName } from "../fedmllm/scenario.ts";
import { openBenchmarkDataset, shapeOf } from "./benchmark-data.ts";
import { type Cell, cellId, selectCells } from "./cell.ts";
import type { CellRunner } from "./cell-runner.ts";
import { cellHash, frozenHash, type ReplayProfile } from "./profiles.ts";
import { type CellRecord, readCell, writeCell } from "./result-files.ts";
import { freeRoom, type Room, requireRoom, roomFor } from "./room.ts";
import type { CellResult } from "./run-cell.ts";

export interface ReplayOptions {
  readonly profile: ReplayProfile;
  readonly cells: string | undefined;
  readonly out: string;
  /** Directory of the real datasets; stand-ins are drawn into `out` where it is absent. */
  readonly data: string | undefined;
  readonly model: string;
  /** Hash of the base model, part of the frozen section. */
  readonly baseHash: string;
  /** Cells that run at a time. */
  readonly jobs: number;
  /** What is free, where that is not to be measured. */
  readonly free?: Room;
  /** Cells that failed run again. */
  readonly retry: boolean;
}

/** What is on disk before the first cell runs. */
export interface PreparedReplay {
  /** Hash of each dataset's frozen section. */
  readonly frozen: ReadonlyMap<DatasetName, string>;
  /** Folder of the datasets. */
  readonly data: string;
  readonly cells: readonly Cell[];
  /** Finished before, by id. */
  readonly kept: ReadonlyMap<string, CellRecord>;
  readonly pending: readonly Cell[];
}

/** @throws FedloomError F6020 for no such cell, F6024 for too little memory or disk, F2002 for no such data directory */
export async function prepareReplay(options: ReplayOptions): Promise<PreparedReplay> {
  const { profile, out, model, jobs } = options;
  const cells = selectCells(profile.cells, options.cells);
  mkdirSync(out, { recursive: true });
  const drawn = options.data === undefined;
  const wanted = await roomFor({ profile, cells: cells.length, model, drawn, jobs });
  requireRoom(wanted, options.free ?? freeRoom(out));
  const { data, hashes } = await prepareData(options);
  const frozen = new Map(
    [...hashes].map(([name, own]) => [
      name,
      frozenHash(name, profile.protocols[name], own, options.baseHash),
    ]),
  );
  const kept = new Map<string, CellRecord>();
  for (const cell of cells) {
    const known = readCell(out, cell, hashOf(cell, frozen));
    if (known !== undefined && (known.ok || !options.retry)) kept.set(cellId(cell), known);
  }
  const pending = cells.filter((cell) => !kept.has(cellId(cell)));
  return { frozen, data, cells, kept, pending };
}

const hashOf = ({ dataset, method }: Cell, frozen: PreparedReplay["frozen"]): string =>
  cellHash(frozen.get(dataset) ?? "", method);

export interface Jobs {
  readonly jobs: number;
  /** Called once a job, and again after a runner was lost. */
  readonly openRunner: () => Promise<CellRunner>;
  readonly log: Log;
  readonly onCell: (
    record: CellRecord,
    progress: { readonly done: number; readonly all: number; readonly fresh: boolean },
  ) => void;
}

export interface Replayed extends Pick<PreparedReplay, "frozen" | "data"> {
  /** In the order of the profile's cells, whoever was done first. */
  readonly records: readonly CellRecord[];
}

/** Runs what is pending; a cell that fails is recorded with its reason, and the others go on. */
export async function replay(
  { profile, out }: Pick<ReplayOptions, "profile" | "out">,
  { frozen, data, cells, kept, pending }: PreparedReplay,
  jobs: Jobs,
): Promise<Replayed> {
  const records = new Map(kept);
  let done = 0;
  const tell = (record: CellRecord, fresh: boolean): void =>
    jobs.onCell(record, { done: ++done, all: cells.length, fresh });
  for (const record of kept.values()) tell(record, false);
  await runAll(pending, profile, jobs, (cell, outcome) => {
    const record: CellRecord = { ...outcome, frozen: hashOf(cell, frozen) };
    writeCell(out, cell, record);
    records.set(cellId(cell), record);
    tell(record, true);
  });
  return { frozen, data, records: cells.map((cell) => records.get(cellId(cell))!) };
}

type Outcome =
  | { readonly ok: true; readonly result: CellResult }
  | { readonly ok: false; readonly cell: Cell; readonly code?: string; readonly reason: string };

/** Each job takes the next cell when it is done with one. */
async function runAll(
  pending: readonly Cell[],
  profile: ReplayProfile,
  { jobs, openRunner, log }: Jobs,
  onOutcome: (cell: Cell, outcome: Outcome) => void,
): Promise<void> {
  const queue = [...pending];
  const work = async (): Promise<void> => {
    let runner = await openRunner();
    try {
      for (let cell = queue.shift(); cell !== undefined; cell = queue.shift()) {
        if (runner.lost?.() === true) runner = await openRunner();
        onOutcome(cell, await attempt(cell, profile, runner, log));
      }
    } catch (error) {
      queue.length = 0; // the others end after the cell they are at
      throw error;
    } finally {
      await runner.close();
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(jobs, queue.length) }, work));
  for (const one of ended) if (one.status === "rejected") throw one.reason;
}

async function attempt(
  cell: Cell,
  { protocols }: ReplayProfile,
  runner: CellRunner,
  log: Log,
): Promise<Outcome> {
  try {
    return { ok: true, result: await runner.run(cell, protocols[cell.dataset]) };
  } catch (error) {
    log.error("cell failed", { cell: cellId(cell), reason: messageOf(error) });
    const code = error instanceof FedloomError ? error.code : undefined;
    return { ok: false, cell, reason: messageOf(error), ...(code !== undefined && { code }) };
  }
}

/** Seed of the stand-ins: part of the frozen section. */
const DATA_SEED = 42;

type DataHashes = ReadonlyMap<DatasetName, readonly string[]>;

async function prepareData({
  data,
  out,
  profile,
}: ReplayOptions): Promise<{ data: string; hashes: DataHashes }> {
  if (data !== undefined) {
    if (existsSync(data)) return { data, hashes: await openAll(data, profile) };
    throw new FedloomError("F2002", `Cannot replay on "${data}": no such directory`, { data });
  }
  const made = join(out, "data");
  const hashes = new Map<DatasetName, string[]>();
  // Drawn again on every start: a few seconds, and nothing half-written can stay behind.
  for (const standin of STANDINS) {
    const { sha256 } = await makeStandin(standin, made, { profile: profile.data, seed: DATA_SEED });
    const name = DATASET_NAMES.find((known) => standin.folder.startsWith(shapeOf(known).folder))!;
    hashes.set(name, [...(hashes.get(name) ?? []), sha256]);
  }
  return { data: made, hashes };
}

/** Hashes of the profile's datasets in a directory; one that cannot be opened counts as absent, and its cells say why. */
async function openAll(data: string, { cells, protocols }: ReplayProfile): Promise<DataHashes> {
  const hashes = new Map<DatasetName, string[]>();
  for (const name of new Set(cells.map(({ dataset }) => dataset))) {
    try {
      hashes.set(name, [(await openBenchmarkDataset(name, data, protocols[name].testLimit)).sha256]);
    } catch (error) {
      if (!(error instanceof FedloomError)) throw error;
      hashes.set(name, ["absent"]);
    }
  }
  return hashes;
}
