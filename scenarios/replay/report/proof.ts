/**
 * What the cells say about the benchmark itself: whether the task wants both modalities, whether federating pays,
 * what missing modalities cost, and how much of that each strategy gets back.
 */
import type { DatasetName } from "../../fedmllm/scenario.ts";
import { type Setting, settingName } from "../cell.ts";
import { type DatasetTable, type Entry, type Gain, mean, statistics } from "./tables.ts";

export interface Alone {
  readonly title: string;
  readonly entry: Entry;
}

/** The rows "both", "text alone", "images alone" of the datasets that have them. */
export interface Multimodal {
  readonly dataset: DatasetName;
  readonly title: string;
  readonly rows: readonly Alone[];
}

/** Training on both modalities beside training on one, all data in one place. */
export function multimodalOf(tables: readonly DatasetTable[]): Multimodal[] {
  return tables.flatMap(({ dataset, title, rows }) => {
    const found = rows.flatMap(({ method, entries }): Alone[] => {
      const entry = entries.get("all");
      return method.kind === "centralized" && entry !== undefined ? [{ title: method.title, entry }] : [];
    });
    return found.length > 1 ? [{ dataset, title, rows: found }] : [];
  });
}

/** The setting that the others stand on: their partitions are its, with modalities taken away. */
const BEFORE = "aligned-0.5";
/** The rule that strategies are added to. */
const RULE = "fedavg";

export interface Cost {
  readonly dataset: DatasetName;
  readonly title: string;
  readonly setting: string;
  readonly local: number | undefined;
  readonly federated: number;
  /** Federated less local, seed by seed where both have the seeds. */
  readonly pays: Spread | undefined;
  /** Aligned less this setting, seed by seed; undefined for the aligned ones. */
  readonly cost: Spread | undefined;
}

export interface Spread {
  readonly mean: number;
  readonly deviation: number | undefined;
  readonly seeds: number;
}

/** FedAvg beside local-only, and beside itself with nothing missing. */
export function costsOf(tables: readonly DatasetTable[]): Cost[] {
  return tables.flatMap(({ dataset, title, settings, rows }) => {
    const entryOf = (method: string, column: string): Entry | undefined =>
      rows.find((row) => row.method.name === method)?.entries.get(column);
    const before = entryOf(RULE, BEFORE);
    return settings.flatMap((setting: Setting): Cost[] => {
      const column = settingName(setting);
      const federated = entryOf(RULE, column);
      if (federated === undefined) return [];
      const local = entryOf("local", column);
      const lacking = setting.scenario !== "aligned";
      return [
        {
          dataset,
          title,
          setting: column,
          local: local?.mean,
          federated: federated.mean,
          pays: local && spread(federated, local),
          cost: lacking && before !== undefined ? spread(before, federated) : undefined,
        },
      ];
    });
  });
}

/** Values stand in the order of the seeds; where one has more seeds, only the common first ones count. */
function spread(a: Entry, b: Entry): Spread {
  const differences = a.values.slice(0, b.values.length).map((value, i) => value - b.values[i]!);
  return { ...statistics(differences), seeds: differences.length };
}

/** Costs below this many points are within what one test set of a few hundred rows can tell. */
const LEAST_COST = 2;

/** Share of the cost of missing modalities that a strategy gets back, in per cent; undefined where there was hardly any. */
export function regained(gain: Gain, costs: readonly Cost[]): number | undefined {
  if (gain.base.name !== RULE) return undefined;
  const { cost } = costs.find(
    ({ dataset, setting, title }) =>
      dataset === gain.dataset && setting === gain.setting && title === gain.title,
  ) ?? { cost: undefined };
  if (cost === undefined || cost.mean < LEAST_COST) return undefined;
  return (100 * mean(gain.differences)) / cost.mean;
}
