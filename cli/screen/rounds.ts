/** The table of finished rounds: one line each as they come, in columns of fixed width. */
import { bytes, duration, figure } from "../units.ts";
import type { RoundView } from "./view.ts";

interface RoundColumn {
  readonly title: string;
  readonly width: number;
  readonly cell: (round: RoundView) => string;
}

/** @param metrics the run's metrics, in the order in which they are shown */
export function roundColumns(metrics: readonly string[]): readonly RoundColumn[] {
  return [
    { title: "round", width: 5, cell: ({ round }) => String(round) },
    { title: "clients", width: 7, cell: ({ ok, failed }) => `${ok}/${ok + failed}` },
    { title: "loss", width: 7, cell: ({ loss }) => (loss === undefined ? "-" : figure(loss)) },
    ...metrics.map((name) => ({
      title: titleOf(name),
      width: Math.max(7, titleOf(name).length),
      cell: (round: RoundView) => (round.metrics[name] === undefined ? "-" : figure(round.metrics[name])),
    })),
    { title: "down", width: 8, cell: ({ downBytes }) => bytes(downBytes) },
    { title: "up", width: 8, cell: ({ upBytes }) => bytes(upBytes) },
    { title: "time", width: 7, cell: ({ durationMs }) => duration(durationMs) },
  ];
}

export function roundTitles(columns: readonly RoundColumn[]): string {
  return columns.map(({ title, width }) => title.padStart(width)).join("  ");
}

export function roundLine(columns: readonly RoundColumn[], round: RoundView): string {
  return columns.map(({ cell, width }) => cell(round).padStart(width)).join("  ");
}

/** Held-out loss and training loss stand in one line. */
function titleOf(metric: string): string {
  return metric === "loss" ? "eval loss" : metric;
}
