/** The report as Markdown: tables that read well as text. */
import type { DatasetName } from "../../fedmllm/scenario.ts";
import { settingName } from "../cell.ts";
import type { Protocol } from "../profiles.ts";
import { environment, type ReportFacts } from "./facts.ts";
import { type Statement, statements } from "./statements.ts";
import type { DatasetTable, Entry, Gain } from "./tables.ts";

export const DRAWN_NOTE =
  "The datasets are drawn stand-ins and the model is small: numbers compare methods with each other. The published numbers stand beside them to show which way things lean there; they are of another model on the real data.";

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
    facts.drawn ? `\n${DRAWN_NOTE}` : "",
    "",
    ...statements(tables, gains).flatMap(statementSection),
    ...tables.flatMap(section),
    "## How it was run",
    "",
    "```",
    facts.command,
    "```",
    "",
    "| | |",
    "|---|---|",
    ...[...factRows(facts), ...protocolRows(facts)].map(([name, value]) => `| ${name} | ${value} |`),
    "",
    ...failures(tables),
    `Cells: ${replayed.records.filter(({ ok }) => ok).length} finished, ${replayed.records.filter(({ ok }) => !ok).length} failed.`,
    "",
  ].join("\n");
}

export function factRows(facts: ReportFacts): (readonly [string, string])[] {
  const { replayed, model, baseModel, version, jobs, threads } = facts;
  const seconds = replayed.records.reduce((sum, record) => sum + (record.ok ? record.result.seconds : 0), 0);
  return [
    ["cells", `${replayed.records.length}, ${(seconds / 3600).toFixed(2)} hours one after the other`],
    ["jobs", `${jobs} at a time, ${threads} thread${threads === 1 ? "" : "s"} each`],
    ["model", `${model} (${baseModel.slice(0, 12)})`],
    ["fedloom", version],
    ...environment(),
  ];
}

/** What makes numbers comparable. */
export function protocolRows({ profile, replayed }: ReportFacts): (readonly [string, string])[] {
  const used = Object.entries(profile.protocols).filter(([name]) =>
    profile.cells.some(({ dataset }) => dataset === name),
  );
  return [
    ...used.flatMap(([name, protocol]): [string, string][] => [
      [`${name}, hash`, replayed.frozen.get(name as DatasetName) ?? ""], // as: a protocol's key
      [`${name}, protocol`, protocolText(protocol)],
    ]),
    ["server rules", SERVER_NOTE],
  ];
}

function protocolText(protocol: Protocol): string {
  const { rounds, perRound, clients, localSteps, batch, learningRate, adapter, testLimit, lastRounds } =
    protocol;
  const steps = localSteps === "epoch" ? "an epoch in steps" : `${localSteps} steps`;
  const lora = `LoRA rank ${adapter.rank}, alpha ${adapter.alpha}, ${adapter.targets.join(" ")}`;
  return `${rounds} rounds, ${perRound} of ${clients} clients, ${steps} of ${batch} rows, AdamW ${learningRate}, afresh in every round; ${lora}; at most ${testLimit} test rows, mean of the last ${lastRounds} rounds`;
}

/** The published server settings suit another scale. */
const SERVER_NOTE =
  "FedAdagrad, FedAdam and FedYogi as published: η = τ = 1e-3, made for clients whose learning rate is near 2e-5. Here a round moves a weight about ten times as far, so that they follow it slowly; rows that say tenfold have both raised to 1e-2";

/** "74.3 ± 1.2" and "[75.7]": mean, deviation over seeds, the published number. */
export function cellParts(entry: Entry | undefined): { value: string; published: string } {
  if (entry === undefined) return { value: "", published: "" };
  const deviation = entry.deviation === undefined ? "" : ` ± ${entry.deviation.toFixed(1)}`;
  return {
    value: entry.mean.toFixed(1) + deviation,
    published: entry.published === undefined ? "" : `[${entry.published.toFixed(1)}]`,
  };
}

export const failureText = "a seed failed";

/** A failed seed does not hide the numbers of the others. */
function cellText(entry: Entry | undefined, failed: boolean): string {
  if (entry === undefined) return failed ? "failed" : "";
  const { value, published } = cellParts(entry);
  return [value, published, failed ? `(${failureText})` : ""].filter((part) => part !== "").join(" ");
}

function section({ dataset, title, settings, rows }: DatasetTable): string[] {
  const columns = settings.length === 0 ? ["all"] : settings.map(settingName);
  return [
    `## ${dataset}: ${title}, per cent`,
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

function statementSection({ title, about, columns, rows }: Statement): string[] {
  return [
    `## ${title}`,
    "",
    about,
    "",
    `| ${columns.join(" | ")} |`,
    `|${columns.map(() => "---|").join("")}`,
    ...rows.map((row) => `| ${row.join(" | ")} |`),
    "",
  ];
}

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
