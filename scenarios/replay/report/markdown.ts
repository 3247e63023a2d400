/** The report as Markdown: tables that read well as text. */
import { settingName } from "../cell.ts";
import { environment, type ReportFacts } from "./facts.ts";
import type { DatasetTable, Entry, Gain } from "./tables.ts";

export function markdownReport(
  facts: ReportFacts,
  tables: readonly DatasetTable[],
  gains: readonly Gain[],
): string {
  const { profile, replayed } = facts;
  return [
    `# FedMLLM replay, profile ${profile.name}`,
    "",
    `${profile.about}.`,
    facts.drawn
      ? "\nThe datasets are drawn stand-ins: numbers compare methods with each other, not with the published ones, which stand beside them to show which way things lean there."
      : "",
    ...tables.flatMap(section),
    ...gainSection(gains),
    "## How it was run",
    "",
    "| | |",
    "|---|---|",
    ...factRows(facts).map(([name, value]) => `| ${name} | ${value} |`),
    "",
    "```",
    facts.command,
    "```",
    "",
    ...failures(tables),
    `Cells: ${replayed.records.filter(({ ok }) => ok).length} finished, ${replayed.records.filter(({ ok }) => !ok).length} failed.`,
    "",
  ].join("\n");
}

export function factRows({
  replayed,
  model,
  baseModel,
  version,
}: ReportFacts): (readonly [string, string])[] {
  return [
    ["frozen section", replayed.frozen],
    ["model", `${model} (${baseModel.slice(0, 12)})`],
    ["fedloom", version],
    ...environment(),
  ];
}

/** "74.3 ± 1.2 [75.7]": mean, deviation over seeds, the published number. */
export function entryText(entry: Entry | undefined): string {
  if (entry === undefined) return "";
  const deviation = entry.deviation === undefined ? "" : ` ± ${entry.deviation.toFixed(1)}`;
  const published = entry.published === undefined ? "" : ` [${entry.published.toFixed(1)}]`;
  return `${entry.mean.toFixed(1)}${deviation}${published}`;
}

/** A failed seed does not hide the numbers of the others. */
export function cellText(entry: Entry | undefined, failed: boolean): string {
  if (!failed) return entryText(entry);
  return entry === undefined ? "failed" : `${entryText(entry)}, a seed failed`;
}

function section({ dataset, shape, settings, rows }: DatasetTable): string[] {
  const columns = settings.map(settingName);
  return [
    `## ${dataset}: ${shape.title}, per cent`,
    "",
    "Mean over the last rounds, ± deviation over seeds; the published number in brackets.",
    "",
    `| method | ${columns.join(" | ")} | mean rank |`,
    `|---|${columns.map(() => "---:|").join("")}---:|`,
    ...rows.map(({ method, entries, failures, meanRank }) => {
      const cells = columns.map((column) =>
        cellText(entries.get(column) ?? entries.get("all"), failures.has(column)),
      );
      return `| ${method.title} | ${cells.join(" | ")} | ${meanRank?.toFixed(1) ?? ""} |`;
    }),
    "",
  ];
}

function gainSection(gains: readonly Gain[]): string[] {
  if (gains.length === 0) return [];
  return [
    "## What the added strategies give",
    "",
    "Difference to the same rule without them, seed by seed, in points.",
    "",
    "| dataset | setting | method | difference | seeds |",
    "|---|---|---|---:|---:|",
    ...gains.map(
      ({ dataset, setting, method, mean, deviation, differences }) =>
        `| ${dataset} | ${setting} | ${method.title} | ${signed(mean)}${deviation === undefined ? "" : ` ± ${deviation.toFixed(1)}`} | ${differences.length} |`,
    ),
    "",
  ];
}

export const signed = (value: number): string => `${value >= 0 ? "+" : ""}${value.toFixed(1)}`;

/** "crisis-mmd, missing-0.5, FedYogi: the reason", one line each. */
export function failureLines(tables: readonly DatasetTable[]): string[] {
  return tables.flatMap(({ dataset, rows }) =>
    rows.flatMap(({ method, failures: failed }) =>
      [...failed].map(
        ([column, reason]) => `${dataset}, ${column}, ${method.title}: ${reason.replaceAll(/\s+/g, " ")}`,
      ),
    ),
  );
}

function failures(tables: readonly DatasetTable[]): string[] {
  const lines = failureLines(tables).map((line) => `- ${line}`);
  return lines.length === 0 ? [] : ["## Failed cells", "", ...lines, ""];
}
