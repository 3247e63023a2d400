/** Results of cells gathered into tables: a row a method, a column a setting, mean and deviation over seeds. */
import { type DatasetName, SCENARIO_NAMES, scenarioNamed } from "../../fedmllm/scenario.ts";
import type { BenchmarkShape } from "../benchmark-data.ts";
import { type Cell, type Setting, settingName } from "../cell.ts";
import { METHODS, type Method, methodNamed } from "../methods.ts";
import { publishedNumber } from "../published-numbers.ts";
import type { CellRecord } from "../result-files.ts";
import type { CellResult } from "../run-cell.ts";

export interface Entry {
  /** One number a seed, in per cent. */
  readonly values: readonly number[];
  readonly mean: number;
  /** Sample standard deviation; undefined for one seed. */
  readonly deviation: number | undefined;
  readonly published: number | undefined;
  /** 1 is the best federated method of the column; ties share the better rank. */
  readonly rank: number | undefined;
}

export interface TableRow {
  readonly method: Method;
  /** By setting name; methods that see no partition have their one number under "all". */
  readonly entries: ReadonlyMap<string, Entry>;
  readonly failures: ReadonlyMap<string, string>;
  readonly meanRank: number | undefined;
}

/** One metric of one dataset. */
export interface DatasetTable {
  readonly dataset: DatasetName;
  readonly metric: string;
  readonly title: string;
  /** Whether it is the number that the benchmark reports. */
  readonly main: boolean;
  /** Whether statements speak of it. */
  readonly told: boolean;
  readonly settings: readonly Setting[];
  readonly rows: readonly TableRow[];
}

export function tablesOf(
  records: readonly CellRecord[],
  shapeOf: (dataset: DatasetName) => BenchmarkShape,
): DatasetTable[] {
  const datasets = [...new Set(records.map((record) => cellOf(record).dataset))];
  return datasets.flatMap((dataset) => {
    const own = records.filter((record) => cellOf(record).dataset === dataset);
    const { main, tables } = shapeOf(dataset);
    const shown = tables.filter(
      ({ metric }) => metric === main || own.some((record) => record.ok && metric in record.result.metrics),
    );
    return shown.map((table) => tableOf({ ...table, dataset, main: table.metric === main }, own));
  });
}

export const cellOf = (record: CellRecord): Cell => (record.ok ? record.result.cell : record.cell);

function tableOf(
  head: Pick<DatasetTable, "dataset" | "metric" | "title" | "main" | "told">,
  records: readonly CellRecord[],
): DatasetTable {
  const { dataset, metric } = head;
  const settings = new Map<string, Setting>();
  for (const { setting } of records.map(cellOf)) if (setting) settings.set(settingName(setting), setting);
  const names = new Set(records.map((record) => cellOf(record).method));
  const methods = METHODS.filter(({ name }) => names.has(name));
  const columns = ["all", ...settings.keys()];
  const bare = methods.map((method) => {
    const own = records.filter((record) => cellOf(record).method === method.name);
    const inColumn = (column: string): CellRecord[] =>
      own
        .filter((record) => settingName(cellOf(record).setting) === column)
        .sort((a, b) => cellOf(a).seed - cellOf(b).seed);
    const entries = columns.flatMap((column) => {
      const values = inColumn(column).flatMap((record) =>
        record.ok ? (record.result.metrics[metric] ?? []) : [],
      );
      const setting = settings.get(column);
      const published =
        setting && method.published && publishedNumber(dataset, metric, setting, method.published);
      return values.length === 0 ? [] : [[column, { values, ...statistics(values), published }] as const];
    });
    const failures = columns.flatMap((column) =>
      inColumn(column).flatMap((record) => (record.ok ? [] : [[column, record.reason] as const])),
    );
    return { method, entries: new Map(entries), failures: new Map(failures) };
  });
  const rows = bare.map(({ method, entries, failures }): TableRow => {
    const ranked = new Map(
      [...entries].map(([column, entry]) => {
        const rivals = bare.filter((other) => other.method.kind === "federated");
        const better = rivals.filter((other) => (other.entries.get(column)?.mean ?? -1) > entry.mean).length;
        return [column, { ...entry, rank: method.kind === "federated" ? better + 1 : undefined }];
      }),
    );
    const ranks = [...ranked.values()].flatMap(({ rank }) => rank ?? []);
    return { method, entries: ranked, failures, meanRank: ranks.length === 0 ? undefined : mean(ranks) };
  });
  return { ...head, settings: [...settings.values()].sort(bySeverity), rows };
}

/** Scenarios as the benchmark numbers them, levels as it publishes them. */
function bySeverity(a: Setting, b: Setting): number {
  const place = ({ scenario, level }: Setting): number =>
    100 * SCENARIO_NAMES.indexOf(scenario) + scenarioNamed(scenario).level.published.indexOf(level);
  return place(a) - place(b);
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function statistics(values: readonly number[]): { mean: number; deviation: number | undefined } {
  const center = mean(values);
  if (values.length < 2) return { mean: center, deviation: undefined };
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0);
  return { mean: center, deviation: Math.sqrt(squares / (values.length - 1)) };
}

export interface Gain {
  readonly dataset: DatasetName;
  readonly metric: string;
  /** The metric's, as its table has it. */
  readonly title: string;
  readonly setting: string;
  readonly method: Method;
  readonly base: Method;
  /** Of each seed that both have: the method's number minus the base's. */
  readonly differences: readonly number[];
  readonly mean: number;
  readonly deviation: number | undefined;
}

/** What each added strategy gives over the same rule without it, seed by seed, in the metrics that statements speak of. */
export function gainsOf(
  records: readonly CellRecord[],
  shapeOf: (dataset: DatasetName) => BenchmarkShape,
): Gain[] {
  const results = records.flatMap((record) => (record.ok ? [record.result] : []));
  const find = (like: CellResult, method: string): CellResult | undefined =>
    results.find(
      ({ cell }) =>
        cell.method === method &&
        cell.seed === like.cell.seed &&
        cell.dataset === like.cell.dataset &&
        settingName(cell.setting) === settingName(like.cell.setting),
    );
  const groups = new Map<string, Omit<Gain, "mean" | "deviation"> & { differences: number[] }>();
  for (const result of results) {
    const { dataset, setting } = result.cell;
    const method = methodNamed(result.cell.method);
    const other = method.base === undefined ? undefined : find(result, method.base);
    if (other === undefined) continue;
    for (const { metric, title } of shapeOf(dataset).tables.filter(({ told }) => told)) {
      const [value, base] = [result.metrics[metric], other.metrics[metric]];
      if (value === undefined || base === undefined) continue;
      const key = `${dataset} ${metric} ${settingName(setting)} ${method.name}`;
      const group = groups.get(key) ?? {
        dataset,
        metric,
        title,
        setting: settingName(setting),
        method,
        base: methodNamed(other.cell.method),
        differences: [],
      };
      group.differences.push(value - base);
      groups.set(key, group);
    }
  }
  return [...groups.values()]
    .sort((a, b) => METHODS.indexOf(a.method) - METHODS.indexOf(b.method))
    .map((group) => ({ ...group, ...statistics(group.differences) }));
}
