/** The report as one HTML file that needs nothing else: no network, no script. */
import { settingName } from "../cell.ts";
import { methodNamed } from "../methods.ts";
import type { CellResult } from "../run-cell.ts";
import { chart, escaped, linesOf } from "./chart.ts";
import type { ReportFacts } from "./facts.ts";
import { cellText, factRows, failureLines, signed } from "./markdown.ts";
import type { DatasetTable, Gain, TableRow } from "./tables.ts";

/** Pictures of partitions by "dataset setting", as SVG. */
export type Pictures = ReadonlyMap<string, string>;

export function htmlReport(
  facts: ReportFacts,
  tables: readonly DatasetTable[],
  gains: readonly Gain[],
  pictures: Pictures,
): string {
  const results = facts.replayed.records.flatMap((record) => (record.ok ? [record.result] : []));
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
${facts.drawn ? `<p class="note">The datasets are drawn stand-ins and the model is small: numbers compare methods with each other. The published numbers stand beside them to show which way things lean there; they are of another model on the real data.</p>` : ""}
${tables.map((table) => datasetSection(table, results, pictures)).join("\n")}
${gainSection(gains)}
${failureSection(tables)}
<h2>How it was run</h2>
<table class="facts">${factRows(facts)
    .map(([name, value]) => `<tr><th>${escaped(name)}</th><td>${escaped(value)}</td></tr>`)
    .join("")}</table>
<pre>${escaped(facts.command)}</pre>
</main>
</body>
</html>
`;
}

function datasetSection(table: DatasetTable, results: readonly CellResult[], pictures: Pictures): string {
  const { dataset, shape, settings, rows } = table;
  const own = results.filter(({ cell }) => cell.dataset === dataset);
  const zeroShot = rows.find(({ method }) => method.kind === "zero-shot")?.entries.get("all")?.mean;
  const baseline = zeroShot === undefined ? undefined : { name: "zero-shot", value: zeroShot };
  const charts = settings.flatMap((setting) => {
    const first = own.filter(
      ({ cell }) => settingName(cell.setting) === settingName(setting) && cell.seed === 0,
    );
    const lines = linesOf(first, shape.main, (method) => methodNamed(method).title);
    return lines.length === 0 ? [] : [chart(`${settingName(setting)}, seed 0`, lines, baseline)];
  });
  const drawn = settings.flatMap((setting) => pictures.get(`${dataset} ${settingName(setting)}`) ?? []);
  return `<h2>${escaped(dataset)} <small>${escaped(shape.title)}, per cent</small></h2>
<div class="wide">${resultTable(table)}</div>
<p class="legend">Mean over the last rounds, ± deviation over seeds. In brackets the published number. Bold: the best federated method of the column.</p>
<div class="charts">${charts.join("\n")}</div>
${fairness(table, own)}
${drawn.length === 0 ? "" : `<details><summary>Who held what</summary><div class="charts">${drawn.join("\n")}</div></details>`}
${costs(own)}`;
}

function resultTable({ settings, rows }: DatasetTable): string {
  const columns = settings.map(settingName);
  const head = columns.map((column) => `<th>${escaped(column)}</th>`).join("");
  return `<table><thead><tr><th>method</th>${head}<th>mean rank</th></tr></thead><tbody>${rows
    .map((row) => resultRow(row, columns))
    .join("")}</tbody></table>`;
}

function resultRow({ method, entries, failures, meanRank }: TableRow, columns: readonly string[]): string {
  const cells = columns.map((column) => {
    const failure = failures.get(column);
    const entry = entries.get(column) ?? entries.get("all");
    const text = escaped(cellText(entry, failure !== undefined));
    if (failure !== undefined) return `<td class="failed" title="${escaped(failure)}">${text}</td>`;
    return `<td${entry?.rank === 1 ? ' class="best"' : ""}>${text}</td>`;
  });
  return `<tr class="${method.kind}"><th>${escaped(method.title)}</th>${cells.join("")}<td>${meanRank?.toFixed(1) ?? ""}</td></tr>`;
}

/** Recall of each class, averaged over settings and seeds: who pays for a good mean. */
function fairness({ rows }: DatasetTable, results: readonly CellResult[]): string {
  const classes = [...new Set(results.flatMap(({ metrics }) => Object.keys(metrics)))].filter((name) =>
    name.startsWith("recall:"),
  );
  if (classes.length === 0) return "";
  const head = classes.map((name) => `<th>${escaped(name.slice("recall:".length))}</th>`).join("");
  const body = rows.map(({ method }) => {
    const own = results.filter(({ cell }) => cell.method === method.name);
    const cells = classes.map((name) => {
      const values = own.flatMap(({ metrics }) => metrics[name] ?? []);
      const text = values.length === 0 ? "" : (values.reduce((a, b) => a + b, 0) / values.length).toFixed(0);
      return `<td>${text}</td>`;
    });
    return `<tr><th>${escaped(method.title)}</th>${cells.join("")}</tr>`;
  });
  return `<details><summary>Recall by class, per cent</summary><div class="wide"><table><thead><tr><th>method</th>${head}</tr></thead><tbody>${body.join("")}</tbody></table></div></details>`;
}

function costs(results: readonly CellResult[]): string {
  const rows = results.map(
    ({ cell, bytesUp, bytesDown, seconds }) =>
      `<tr><th>${escaped(`${methodNamed(cell.method).title}, ${settingName(cell.setting)}, seed ${cell.seed}`)}</th><td>${(bytesUp / 2 ** 20).toFixed(1)}</td><td>${(bytesDown / 2 ** 20).toFixed(1)}</td><td>${seconds.toFixed(0)}</td></tr>`,
  );
  return `<details><summary>Bytes and time by cell</summary><table><thead><tr><th>cell</th><th>MiB up</th><th>MiB down</th><th>seconds</th></tr></thead><tbody>${rows.join("")}</tbody></table></details>`;
}

function gainSection(gains: readonly Gain[]): string {
  if (gains.length === 0) return "";
  const rows = gains.map(
    ({ dataset, setting, method, base, mean, deviation, differences }) =>
      `<tr><th>${escaped(method.title)}</th><td>${escaped(base.title)}</td><td>${escaped(dataset)}</td><td>${escaped(setting)}</td><td>${signed(mean)}${deviation === undefined ? "" : ` ± ${deviation.toFixed(1)}`}</td><td>${differences.length}</td></tr>`,
  );
  return `<h2>What the added strategies give</h2>
<p class="legend">Difference to the same rule without them, seed by seed, in points.</p>
<table><thead><tr><th>method</th><th>against</th><th>dataset</th><th>setting</th><th>difference</th><th>seeds</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function failureSection(tables: readonly DatasetTable[]): string {
  const lines = failureLines(tables).map((line) => `<li>${escaped(line)}</li>`);
  return lines.length === 0 ? "" : `<h2>Failed cells</h2><ul>${lines.join("")}</ul>`;
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #57606a; --line: #d0d7de; --band: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --soft: #9da7b1; --line: #30363d; --band: #161b22; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 24px 20px 60px; }
h1 small, h2 small { color: var(--soft); font-weight: normal; font-size: 0.6em; margin-left: 0.5em; }
h2 { margin-top: 2.2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; font-weight: normal; }
thead th { color: var(--soft); font-weight: normal; }
tr.zero-shot, tr.local, tr.centralized { background: var(--band); }
td.best { font-weight: 700; }
td.failed { color: var(--soft); font-style: italic; }
.facts td { text-align: left; white-space: normal; word-break: break-all; }
.wide { overflow-x: auto; }
.legend, .note { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 16px; margin: 16px 0; }
.charts svg { width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .title { font-weight: 600; }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .baseline { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 3 3; }
details { margin: 12px 0; }
summary { cursor: pointer; color: var(--soft); }
pre { background: var(--band); padding: 12px; overflow-x: auto; }
`;
