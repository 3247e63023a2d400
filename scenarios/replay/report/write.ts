/** Writes a replay's report: one HTML file, Markdown, CSV and JSON, all from the same records. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DatasetName } from "../../fedmllm/scenario.ts";
import { pictureOf } from "../../picture.ts";
import { openBenchmarkDataset, shapeOf } from "../benchmark-data.ts";
import { settingName } from "../cell.ts";
import { csvReport } from "./csv.ts";
import type { ReportFacts } from "./facts.ts";
import { type Fairness, fairnessOf } from "./fairness.ts";
import { htmlReport, type Illustrations } from "./html.ts";
import { markdownReport } from "./markdown.ts";
import { type DatasetTable, gainsOf, tablesOf } from "./tables.ts";

export const REPORT_FILES = ["report.html", "report.md", "report.csv", "report.json"] as const;

export async function writeReport(out: string, facts: ReportFacts): Promise<void> {
  const { records, frozen } = facts.replayed;
  const tables = tablesOf(records, shapeOf);
  const gains = gainsOf(records, shapeOf);
  const write = (name: (typeof REPORT_FILES)[number], text: string): void =>
    writeFileSync(join(out, name), text);
  write("report.html", htmlReport(facts, tables, gains, await illustrate(facts, tables)));
  write("report.md", markdownReport(facts, tables, gains));
  write("report.csv", csvReport(records));
  const { profile, command, version, baseModel } = facts;
  const head = { profile: profile.name, frozen: Object.fromEntries(frozen), version, baseModel, command };
  write("report.json", `${JSON.stringify({ ...head, records }, null, 1)}\n`);
}

/** Of every partition that a finished cell was trained on. */
async function illustrate(
  { replayed, profile }: ReportFacts,
  tables: readonly DatasetTable[],
): Promise<Illustrations> {
  const results = replayed.records.flatMap((record) => (record.ok ? [record.result] : []));
  const fairness: Fairness[] = [];
  const partitions = new Map<DatasetName, readonly string[]>();
  for (const { dataset, settings } of tables.filter(({ main }) => main)) {
    const trained = new Set(
      results.filter(({ cell }) => cell.dataset === dataset).map(({ cell }) => settingName(cell.setting)),
    );
    if (trained.size === 0) continue;
    const source = await openBenchmarkDataset(dataset, replayed.data, profile.protocols[dataset].testLimit);
    const shown = settings.filter((setting) => trained.has(settingName(setting)));
    partitions.set(
      dataset,
      shown.map((setting) => pictureOf(source.plan(setting))),
    );
    fairness.push(...shown.flatMap((setting) => fairnessOf(source, setting, results) ?? []));
  }
  return { fairness, partitions };
}
