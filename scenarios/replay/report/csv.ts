/** Every number of every cell, one a line: for whoever wants to draw their own picture. */
import { settingName } from "../cell.ts";
import type { CellRecord } from "../result-files.ts";

const HEADER = ["dataset", "setting", "method", "seed", "round", "metric", "value"];

export function csvReport(records: readonly CellRecord[]): string {
  const lines = records.flatMap((record) => {
    if (!record.ok) return [];
    const { cell, metrics, curve, bytesUp, bytesDown, seconds } = record.result;
    const head = [cell.dataset, settingName(cell.setting), cell.method, cell.seed];
    const totals = { ...metrics, bytes_up: bytesUp, bytes_down: bytesDown, seconds };
    return [
      ...Object.entries(totals).map(([name, value]) => [...head, "", name, value]),
      ...curve.flatMap(({ round, metrics: at }) =>
        Object.entries(at).map(([name, value]) => [...head, round, name, value]),
      ),
    ];
  });
  return [HEADER, ...lines].map((line) => `${line.map(field).join(",")}\n`).join("");
}

function field(value: string | number): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
