/** The report as one HTML file that needs nothing else: no network, no script. */
import type { DatasetName } from "../../fedmllm/scenario.ts";
import { escaped } from "./chart.ts";
import type { ReportFacts } from "./facts.ts";
import type { Fairness } from "./fairness.ts";
import { datasetSection } from "./html-dataset.ts";
import { DRAWN_NOTE, factRows, failureLines, protocolRows } from "./markdown.ts";
import { type Statement, statements } from "./statements.ts";
import { STYLE } from "./style.ts";
import type { DatasetTable, Gain } from "./tables.ts";

/** What is drawn beside the tables, by dataset. */
export interface Illustrations {
  readonly fairness: readonly Fairness[];
  /** Pictures of partitions as SVG. */
  readonly partitions: ReadonlyMap<DatasetName, readonly string[]>;
}

export function htmlReport(
  facts: ReportFacts,
  tables: readonly DatasetTable[],
  gains: readonly Gain[],
  { fairness, partitions }: Illustrations,
): string {
  const results = facts.replayed.records.flatMap((record) => (record.ok ? [record.result] : []));
  const datasets = [...new Set(tables.map(({ dataset }) => dataset))];
  const sections = datasets.map((dataset) =>
    datasetSection(
      tables.filter((table) => table.dataset === dataset),
      results.filter(({ cell }) => cell.dataset === dataset),
      fairness.filter((one) => one.dataset === dataset),
      partitions.get(dataset) ?? [],
    ),
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>FedMLLM replay, profile ${escaped(facts.profile.name)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>FedMLLM replay <small>profile ${escaped(facts.profile.name)}</small></h1>
<p>${escaped(facts.profile.about)}.</p>
${facts.drawn ? `<p class="note">${escaped(DRAWN_NOTE)}</p>` : ""}
${statements(tables, gains).map(statementSection).join("\n")}
${sections.join("\n")}
${failureSection(tables)}
<h2>How it was run</h2>
<pre>${escaped(facts.command)}</pre>
<div class="wide"><table class="facts">${factRows(facts).map(pair).join("")}</table></div>
<h3>Frozen section</h3>
<p class="legend">Numbers of reports with the same hash may be compared.</p>
<div class="wide"><table class="facts">${protocolRows(facts).map(pair).join("")}</table></div>
</main>
</body>
</html>
`;
}

const pair = ([name, value]: readonly [string, string]): string =>
  `<tr><th>${escaped(name)}</th><td>${escaped(value)}</td></tr>`;

function statementSection({ title, about, columns, rows }: Statement): string {
  const head = columns.map((column) => `<th>${escaped(column)}</th>`).join("");
  const body = rows.map(
    ([first, ...rest]) => `<tr><th>${escaped(first!)}</th>${rest.map(cellOf).join("")}</tr>`,
  );
  return `<h2>${escaped(title)}</h2><p class="legend">${escaped(about)}</p><div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${body.join("")}</tbody></table></div>`;
}

/** Words to the left, numbers to the right. */
function cellOf(text: string): string {
  return `<td${/^[-+\d]|^$/.test(text) ? "" : ' class="word"'}>${escaped(text)}</td>`;
}

function failureSection(tables: readonly DatasetTable[]): string {
  const lines = failureLines(tables).map((line) => `<li>${escaped(line)}</li>`);
  return lines.length === 0 ? "" : `<h2>Failed cells</h2><ul>${lines.join("")}</ul>`;
}
