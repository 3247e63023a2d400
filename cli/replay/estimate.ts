/** How long a replay will take: measured before it starts, and told while it runs. */
import { FedloomError } from "../../base/errors.ts";
import { type Cell, cellId } from "../../scenarios/replay/cell.ts";
import type { CellRunner } from "../../scenarios/replay/cell-runner.ts";
import { methodNamed } from "../../scenarios/replay/methods.ts";
import { type Pace, secondsOf } from "../../scenarios/replay/pace.ts";
import type { Protocol, Protocols } from "../../scenarios/replay/profiles.ts";
import { type Column, table } from "../table.ts";

export interface Estimate {
  readonly data: {
    readonly cells: number;
    readonly seconds: number;
    readonly jobs: number;
    /** Datasets of which nothing could be measured, and why: their cells will fail by the same reason. */
    readonly failing: readonly {
      readonly dataset: string;
      readonly cells: number;
      readonly reason: string;
    }[];
  };
  readonly lines: readonly string[];
}

/** Times a few steps and a scoring of each dataset in one process, and multiplies. */
export async function estimateOf(
  pending: readonly Cell[],
  protocols: Protocols,
  jobs: number,
  openRunner: () => Promise<CellRunner>,
): Promise<Estimate> {
  const runner = await openRunner();
  const rows: string[][] = [];
  const failing: { dataset: string; cells: number; reason: string }[] = [];
  let seconds = 0;
  let cells = 0;
  try {
    for (const dataset of new Set(pending.map((cell) => cell.dataset))) {
      const own = pending.filter((cell) => cell.dataset === dataset);
      const pace = await paceIn(runner, dataset, protocols[dataset]);
      if ("reason" in pace) {
        failing.push({ dataset, cells: own.length, reason: pace.reason });
        continue;
      }
      const total = own.reduce(
        (sum, { method }) => sum + secondsOf(methodNamed(method), protocols[dataset], pace),
        0,
      );
      seconds += total;
      cells += own.length;
      const { stepSeconds, evaluationSeconds } = pace;
      rows.push([dataset, String(own.length), shown(stepSeconds), shown(evaluationSeconds), duration(total)]);
    }
  } finally {
    await runner.close();
  }
  const wall = seconds / Math.max(1, Math.min(jobs, cells));
  return {
    data: { cells, seconds: wall, jobs, failing },
    lines: [
      ...table(COLUMNS, rows),
      ...failing.map((one) => `${one.cells} cells of ${one.dataset} will fail: ${one.reason}`),
      `About ${duration(wall)} for ${cells} cells, ${jobs} at a time, if each is as fast as one alone.`,
    ],
  };
}

/** Or the reason why the dataset or the model will not do. */
async function paceIn(
  runner: CellRunner,
  dataset: Cell["dataset"],
  protocol: Protocol,
): Promise<Pace | { readonly reason: string }> {
  try {
    return await runner.pace(dataset, protocol);
  } catch (error) {
    if (error instanceof FedloomError && error.code !== "F6025") return { reason: error.message };
    throw error;
  }
}

const COLUMNS: readonly Column[] = [
  { title: "dataset" },
  { title: "cells", align: "right" },
  { title: "a step", align: "right" },
  { title: "scoring the test set", align: "right" },
  { title: "one after the other", align: "right" },
];

/** Where nothing was measured: in steps, about right for the embedded model and two hundred test rows. */
const NOMINAL = { stepSeconds: 1, evaluationSeconds: 6, epochSteps: 20 };

/**
 * @returns told of each cell that ran and how long it took, gives the seconds that are left. From the cells' own seconds,
 *   not from the clock: the first ones wait for processes to start
 */
export function countdown(
  pending: readonly Cell[],
  protocols: Protocols,
  jobs: number,
): (finished: Cell, seconds: number | undefined) => number {
  const weigh = ({ method, dataset }: Cell): number =>
    secondsOf(methodNamed(method), protocols[dataset], NOMINAL);
  const waiting = new Map(pending.map((cell) => [cellId(cell), weigh(cell)]));
  let [took, weight] = [0, 0];
  return (finished, seconds) => {
    if (seconds !== undefined) {
      took += seconds;
      weight += waiting.get(cellId(finished)) ?? 0;
    }
    waiting.delete(cellId(finished));
    const left = [...waiting.values()].reduce((sum, each) => sum + each, 0);
    // What the jobs have begun is not counted as done: an estimate from above.
    return left === 0 ? 0 : (took / weight) * (left / Math.min(jobs, waiting.size));
  };
}

function shown(seconds: number): string {
  return seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`;
}

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}
