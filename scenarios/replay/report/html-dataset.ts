/** A dataset's section of the HTML report: tables, curves, fairness, partitions, costs. */
import { settingName } from "../cell.ts";
import { methodNamed } from "../methods.ts";
import type { CellResult } from "../run-cell.ts";
import { chart, escaped, linesOf } from "./chart.ts";
import type { Fairness } from "./fairness.ts";
import { cellParts, failureText } from "./markdown.ts";
import type { DatasetTable, TableRow } from "./tables.ts";

/** @param tables one a metric, the main one first @param pictures of the partitions, as SVG */
export function datasetSection(
  tables: readonly DatasetTable[],
  results: readonly CellResult[],
  fairness: readonly Fairness[],
  pictures: readonly string[],
): string {
  const [main] = tables as [DatasetTable, ...DatasetTable[]];
  return `<h2>${escaped(main.dataset)}</h2>
${tables.map((table) => `<h3>${escaped(table.title)}, per cent</h3><div class="wide">${resultTable(table)}</div>`).join("\n")}
<p class="legend">Mean over the last rounds, ± deviation over seeds, in brackets the published number. Marked and bold: the best federated method of the column.</p>
${curves(main, results)}
${fairnessSection(fairness)}
${pictures.length === 0 ? "" : `<details><summary>Who held what</summary><div class="charts large">${pictures.join("\n")}</div></details>`}
${costs(results)}`;
}

function resultTable({ settings, rows }: DatasetTable): string {
  const columns = settings.length === 0 ? ["all"] : settings.map(settingName);
  const head = columns.map((column) => `<th>${escaped(column)}</th>`).join("");
  return `<table><thead><tr><th>method</th>${head}<th>mean rank</th></tr></thead><tbody>${rows
    .map((row) => resultRow(row, columns))
    .join("")}</tbody></table>`;
}

function resultRow({ method, entries, failures, meanRank }: TableRow, columns: readonly string[]): string {
  const everywhere = entries.get("all");
  if (everywhere !== undefined && columns[0] !== "all" && failures.size === 0) {
    const { value } = cellParts(everywhere);
    return `<tr class="${method.kind}"><th>${escaped(method.title)}</th><td class="span" colspan="${columns.length + 1}">${value}, whatever the setting</td></tr>`;
  }
  const cells = columns.map((column) => {
    const failure = failures.get(column);
    const entry = entries.get(column) ?? entries.get("all");
    if (failure !== undefined && entry === undefined) {
      return `<td class="failed" title="${escaped(failure)}">failed</td>`;
    }
    const { value, published } = cellParts(entry);
    const beside = published === "" ? "" : ` <small>${published}</small>`;
    const failed =
      failure === undefined ? "" : ` <small title="${escaped(failure)}">${escaped(failureText)}</small>`;
    return `<td${entry?.rank === 1 ? ' class="best"' : ""}>${value}${beside}${failed}</td>`;
  });
  return `<tr class="${method.kind}"><th>${escaped(method.title)}</th>${cells.join("")}<td>${meanRank?.toFixed(1) ?? ""}</td></tr>`;
}

/** A picture a setting for the rules, and one for the strategies added to them where there are some. */
function curves({ settings, metric, rows }: DatasetTable, results: readonly CellResult[]): string {
  const zeroShot = rows.find(({ method }) => method.kind === "zero-shot")?.entries.get("all")?.mean;
  const baseline = zeroShot === undefined ? undefined : { name: "zero-shot", value: zeroShot };
  const pictures = settings.flatMap((setting) => {
    const name = settingName(setting);
    const own = results.filter(({ cell }) => settingName(cell.setting) === name);
    const added = own.filter(({ cell }) => methodNamed(cell.method).base !== undefined);
    const bases = new Set(added.map(({ cell }) => methodNamed(cell.method).base));
    const rules = own.filter((result) => !added.includes(result));
    const withBases = own.filter((result) => added.includes(result) || bases.has(result.cell.method));
    return [
      { title: name, lines: linesOf(rules, metric) },
      { title: `${name}, strategies`, lines: added.length === 0 ? [] : linesOf(withBases, metric) },
    ];
  });
  const drawn = pictures.filter(({ lines }) => lines.length > 0);
  if (drawn.length === 0) return "";
  return `<h3>Round by round</h3><div class="charts">${drawn
    .map(({ title, lines }) => chart(title, lines, baseline))
    .join("\n")}</div>`;
}

/** Heat tables: each client's own adapter, then the global ones; what each client can expect of them. */
function fairnessSection(all: readonly Fairness[]): string {
  if (all.length === 0) return "";
  return `<details><summary>Fairness: recall by client and class, and what each client can expect</summary>
<p class="legend">Rows of clients: the recall of the client's own adapter (local only), and in brackets how much of its data the class is. Rows of methods: the global adapter's recall. What a client can expect is the recall of each class times the share of its own data that the class is: for its own adapter, and for a global one from the worst to the best client.</p>
<div class="heats">${all.map(heatTable).join("\n")}</div></details>`;
}

function heatTable({ setting, classes, shares, own, global }: Fairness): string {
  const expectedOf = (mix: readonly number[], recalls: readonly number[]): number =>
    mix.reduce((sum, share, c) => sum + share * recalls[c]!, 0);
  const clients = shares.map((mix, client) => {
    const recalls = own?.[client];
    const cells = mix.map((share, c) => heat(recalls?.[c], ` <small>[${Math.round(100 * share)}]</small>`));
    const expected = recalls === undefined ? "" : expectedOf(mix, recalls).toFixed(0);
    return `<tr class="local"><th>client ${client}</th>${cells.join("")}<td>${expected}</td></tr>`;
  });
  const methods = global.map(({ method, recalls, expected }) => {
    const [least, most] = [Math.min(...expected), Math.max(...expected)].map((value) => value.toFixed(0));
    return `<tr><th>${escaped(method.title)}</th>${recalls.map((value) => heat(value, "")).join("")}<td>${least} to ${most}</td></tr>`;
  });
  return `<div class="wide"><h3>${escaped(setting)}</h3><table><thead><tr><th></th>${classes
    .map((name) => `<th>${escaped(name)}</th>`)
    .join(
      "",
    )}<th>a client expects</th></tr></thead><tbody>${clients.join("")}${methods.join("")}</tbody></table></div>`;
}

function heat(value: number | undefined, after: string): string {
  if (value === undefined) return `<td>${after}</td>`;
  return `<td class="heat" style="--of:${value.toFixed(0)}">${value.toFixed(0)}${after}</td>`;
}

function costs(results: readonly CellResult[]): string {
  const rows = results.map(({ cell, bytesUp, bytesDown, seconds }) => {
    const name = `${methodNamed(cell.method).title}, ${settingName(cell.setting)}, seed ${cell.seed}`;
    const numbers = [(bytesUp / 2 ** 20).toFixed(1), (bytesDown / 2 ** 20).toFixed(1), seconds.toFixed(0)];
    return `<tr><th>${escaped(name)}</th>${numbers.map((number) => `<td>${number}</td>`).join("")}</tr>`;
  });
  return `<details><summary>Bytes and time by cell</summary><div class="wide"><table><thead><tr><th>cell</th><th>MiB up</th><th>MiB down</th><th>seconds</th></tr></thead><tbody>${rows.join("")}</tbody></table></div></details>`;
}
