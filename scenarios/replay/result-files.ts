/** Finished cells on disk, one JSON file each: what makes a replay resumable. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Cell, cellId } from "./cell.ts";
import type { CellResult } from "./run-cell.ts";

/** A cell that failed is finished too: the table shows why, and `--retry` runs it again. */
export type CellRecord =
  | { readonly ok: true; readonly frozen: string; readonly result: CellResult }
  | {
      readonly ok: false;
      readonly frozen: string;
      readonly cell: Cell;
      readonly code?: string;
      readonly reason: string;
    };

const pathOf = (out: string, cell: Cell): string => join(out, "cells", `${cellId(cell)}.json`);

/** @returns undefined where the cell has not run, ran under another frozen section, or its file is damaged: it runs again */
export function readCell(out: string, cell: Cell, frozen: string): CellRecord | undefined {
  const path = pathOf(out, cell);
  if (!existsSync(path)) return undefined;
  const record = recordIn(readFileSync(path, "utf8"));
  return record?.frozen === frozen ? record : undefined;
}

/** A power loss may leave a file empty or cut, though no crash of ours does. */
function recordIn(text: string): CellRecord | undefined {
  try {
    return JSON.parse(text) as CellRecord; // what is whole JSON in this folder was written by writeCell
  } catch {
    return undefined;
  }
}

/** Replaces the file in one step: a killed replay leaves whole cells only. */
export function writeCell(out: string, cell: Cell, record: CellRecord): void {
  const path = pathOf(out, cell);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.part`, `${JSON.stringify(record, null, 1)}\n`);
  renameSync(`${path}.part`, path);
}
