/** Plain text tables: columns as wide as their widest cell, numbers to the right. */
import { stripVTControlCharacters } from "node:util";

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** @returns one string a line: the titles, then the rows */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map((column, i) =>
    Math.max(textWidth(column.title), ...rows.map((row) => textWidth(row[i] ?? ""))),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, i) => {
        const cell = cells[i] ?? "";
        const blanks = " ".repeat(widths[i]! - textWidth(cell));
        return column.align === "right" ? blanks + cell : cell + blanks;
      })
      .join("  ")
      .trimEnd();
  return [line(columns.map((column) => column.title)), ...rows.map(line)];
}

/** Columns a text takes on screen: colors take none. Wide East Asian characters do not occur in our tables. */
export function textWidth(text: string): number {
  return stripVTControlCharacters(text).length;
}
