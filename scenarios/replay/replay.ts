/**
 * A replay: cells one after the other, each on disk when it is done. Stopped at any moment and started again it goes
 * on with the first cell that is missing, and ends with the same table.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../base/clock.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { STANDINS } from "../../data/standins/index.ts";
import { makeStandin } from "../../data/standins/make.ts";
import type { Trainer } from "../../training/trainer.ts";
import type { DatasetName } from "../fedmllm/scenario.ts";
import { type BenchmarkDataset, openBenchmarkDataset } from "./benchmark-data.ts";
import { type Cell, cellId, selectCells } from "./cell.ts";
import { frozenHash, type ReplayProfile } from "./profiles.ts";
import { type CellRecord, readCell, writeCell } from "./result-files.ts";
import { freeRoom, type Room, requireRoom, roomFor } from "./room.ts";
import { runCell } from "./run-cell.ts";

export interface ReplayOptions {
  readonly profile: ReplayProfile;
  readonly cells: string | undefined;
  readonly out: string;
  /** Directory of the real datasets; stand-ins are drawn into `out` where it is absent. */
  readonly data: string | undefined;
  readonly model: string;
  readonly trainer: Trainer;
  readonly device: string;
  readonly log: Log;
  /** What is free, where that is not to be measured. */
  readonly free?: Room;
  /** Cells that failed run again. */
  readonly retry: boolean;
  readonly onCell: (
    record: CellRecord,
    progress: { readonly done: number; readonly all: number; readonly fresh: boolean },
  ) => void;
}

export interface Replayed {
  readonly frozen: string;
  readonly dataHashes: readonly string[];
  readonly records: readonly CellRecord[];
  readonly data: string;
}

/** Seed of the stand-ins: part of the frozen section. */
const DATA_SEED = 42;

/** @throws FedloomError F6020 for no such cell, F6024 for too little memory or disk, F2002 for no such data directory */
export async function replay(options: ReplayOptions): Promise<Replayed> {
  const { profile, out, model, trainer } = options;
  const cells = selectCells(profile.cells, options.cells);
  mkdirSync(out, { recursive: true });
  const drawn = options.data === undefined;
  requireRoom(await roomFor({ profile, cells: cells.length, model, drawn }), options.free ?? freeRoom(out));
  const datasets = new Map<DatasetName, BenchmarkDataset>();
  const { data, hashes } = await prepareData(options, datasets);
  const frozen = frozenHash(profile, [...hashes, trainer.baseHash]);
  const records: CellRecord[] = [];
  for (const [i, cell] of cells.entries()) {
    const known = readCell(out, cell, frozen);
    const fresh = known === undefined || (options.retry && !known.ok);
    const record = fresh ? await attempt(cell, frozen, data, datasets, options) : known;
    if (fresh) writeCell(out, cell, record);
    records.push(record);
    options.onCell(record, { done: i + 1, all: cells.length, fresh });
  }
  return { frozen, dataHashes: hashes, records, data };
}

async function attempt(
  cell: Cell,
  frozen: string,
  data: string,
  datasets: Map<DatasetName, BenchmarkDataset>,
  { profile, trainer, device, model, log }: ReplayOptions,
): Promise<CellRecord> {
  try {
    const protocol = profile.protocols[cell.dataset];
    const dataset =
      datasets.get(cell.dataset) ?? (await openBenchmarkDataset(cell.dataset, data, protocol.testLimit));
    datasets.set(cell.dataset, dataset);
    const tools = { dataset, protocol, trainer, device, model, log, clock: systemClock };
    return { ok: true, frozen, result: await runCell(cell, tools) };
  } catch (error) {
    log.error("cell failed", { cell: cellId(cell), reason: messageOf(error) });
    const code = error instanceof FedloomError ? error.code : undefined;
    return { ok: false, frozen, cell, reason: messageOf(error), ...(code !== undefined && { code }) };
  }
}

async function prepareData(
  { data, out, profile }: ReplayOptions,
  datasets: Map<DatasetName, BenchmarkDataset>,
): Promise<{ data: string; hashes: string[] }> {
  if (data !== undefined) {
    if (existsSync(data)) return { data, hashes: await openAll(data, profile, datasets) };
    throw new FedloomError("F2002", `Cannot replay on "${data}": no such directory`, { data });
  }
  const made = join(out, "data");
  const hashes: string[] = [];
  // Drawn again on every start: a few seconds, and nothing half-written can stay behind.
  for (const standin of STANDINS) {
    hashes.push((await makeStandin(standin, made, { profile: profile.data, seed: DATA_SEED })).sha256);
  }
  return { data: made, hashes };
}

/** Hashes of the profile's datasets in a directory; one that cannot be opened counts as absent, and its cells say why. */
async function openAll(
  data: string,
  { cells, protocols }: ReplayProfile,
  datasets: Map<DatasetName, BenchmarkDataset>,
): Promise<string[]> {
  const names = [...new Set(cells.map(({ dataset }) => dataset))].sort();
  const hashes: string[] = [];
  for (const name of names) {
    try {
      const dataset = await openBenchmarkDataset(name, data, protocols[name].testLimit);
      datasets.set(name, dataset);
      hashes.push(dataset.sha256);
    } catch (error) {
      if (!(error instanceof FedloomError)) throw error;
      hashes.push("absent");
    }
  }
  return hashes;
}
