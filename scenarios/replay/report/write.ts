/** Writes a replay's report: one HTML file, Markdown, CSV and JSON, all from the same records. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pictureOf } from "../../picture.ts";
import { openBenchmarkDataset, shapeOf } from "../benchmark-data.ts";
import { settingName } from "../cell.ts";
import { csvReport } from "./csv.ts";
import type { ReportFacts } from "./facts.ts";
import { htmlReport, type Pictures } from "./html.ts";
import { markdownReport } from "./markdown.ts";
import { cellOf, type DatasetTable, gainsOf, tablesOf } from "./tables.ts";

export const REPORT_FILES = ["report.html", "report.md", "report.csv", "report.json"] as const;

export async function writeReport(out: string, facts: ReportFacts): Promise<void> {
  const { records, frozen } = facts.replayed;
  const tables = tablesOf(records, shapeOf);
  const gains = gainsOf(records, shapeOf);
  const pictures = await drawPictures(facts, tables);
  const write = (name: (typeof REPORT_FILES)[number], text: string): void =>
    writeFileSync(join(out, name), text);
  write("report.html", htmlReport(facts, tables, gains, pictures));
  write("report.md", markdownReport(facts, tables, gains));
  write("report.csv", csvReport(records));
  const { profile, command, version, baseModel } = facts;
  const head = { profile: profile.name, frozen, version, baseModel, command };
  write("report.json", `${JSON.stringify({ ...head, records }, null, 1)}\n`);
}

/** Of every partition that a finished cell was trained on. */
async function drawPictures(
  { replayed, profile }: ReportFacts,
  tables: readonly DatasetTable[],
): Promise<Pictures> {
  const pictures = new Map<string, string>();
  for (const { dataset, settings } of tables) {
    const trained = replayed.records.filter((record) => record.ok && cellOf(record).dataset === dataset);
    if (trained.length === 0) continue;
    const source = await openBenchmarkDataset(dataset, replayed.data, profile.protocols[dataset].testLimit);
    for (const setting of settings) {
      const name = settingName(setting);
      if (!trained.some((record) => settingName(cellOf(record).setting) === name)) continue;
      pictures.set(`${dataset} ${name}`, pictureOf(source.plan(setting)));
    }
  }
  return pictures;
}
