/** Who runs cells: one at a time each, with a trainer whose sessions and frozen features all its cells share. */
import { systemClock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Trainer } from "../../training/trainer.ts";
import type { DatasetName } from "../fedmllm/scenario.ts";
import { type BenchmarkDataset, openBenchmarkDataset } from "./benchmark-data.ts";
import type { Cell } from "./cell.ts";
import { measurePace, type Pace } from "./pace.ts";
import type { Protocol } from "./profiles.ts";
import { type CellResult, runCell } from "./run-cell.ts";

export interface CellRunner {
  /** A cell's numbers depend on the cell alone, not on who runs it nor on what ran before. */
  run(cell: Cell, protocol: Protocol): Promise<CellResult>;
  /** What a step and a scored example take here. */
  pace(dataset: DatasetName, protocol: Protocol): Promise<Pace>;
  /** Whether it can run no more: its process ended. */
  lost?(): boolean;
  close(): Promise<void>;
}

export interface RunnerOptions {
  /** Folder of the datasets. */
  readonly data: string;
  readonly model: string;
  readonly device: string;
  readonly trainer: Trainer;
  readonly log: Log;
}

/** Runs cells in this thread. Closing it closes the trainer. */
export function runnerHere({ data, trainer, ...rest }: RunnerOptions): CellRunner {
  const open = new Map<string, Promise<BenchmarkDataset>>();
  const toolsFor = async (name: DatasetName, protocol: Protocol) => {
    const key = `${name} ${protocol.testLimit}`;
    const opening = open.get(key) ?? openBenchmarkDataset(name, data, protocol.testLimit);
    open.set(key, opening);
    return { dataset: await opening, protocol, trainer, clock: systemClock, ...rest };
  };
  return {
    run: async (cell, protocol) => runCell(cell, await toolsFor(cell.dataset, protocol)),
    pace: async (dataset, protocol) => measurePace(await toolsFor(dataset, protocol)),
    close: () => trainer.close(),
  };
}
