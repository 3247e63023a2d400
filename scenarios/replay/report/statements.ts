/** Tables of what the cells say together, as rows of words for Markdown and HTML alike. */
import { costsOf, multimodalOf, regained, type Spread } from "./proof.ts";
import type { DatasetTable, Entry, Gain } from "./tables.ts";

export interface Statement {
  readonly title: string;
  readonly about: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Those that the cells allow. */
export function statements(tables: readonly DatasetTable[], gains: readonly Gain[]): Statement[] {
  const told = tables.filter((table) => table.told);
  return [multimodal(told), costs(told), strategies(told, gains)].filter(({ rows }) => rows.length > 0);
}

function multimodal(tables: readonly DatasetTable[]): Statement {
  return {
    title: "Does the task want both modalities?",
    about:
      "All training data in one place, with everything, with the text alone and with the pictures alone, in training and in the test. Chance is 50.",
    columns: ["training and test on", "dataset", "metric", "per cent", "seeds"],
    rows: multimodalOf(tables).flatMap(({ dataset, title, rows }) =>
      rows.map(({ title: name, entry }) => [
        name,
        dataset,
        title,
        number(entry),
        String(entry.values.length),
      ]),
    ),
  };
}

function costs(tables: readonly DatasetTable[]): Statement {
  return {
    title: "Does federating pay, and what do missing modalities cost?",
    about:
      "FedAvg beside every client alone, and beside itself on the same partition with nothing missing (aligned-0.5). Differences in points, seed by seed, ± deviation.",
    columns: [
      "setting",
      "dataset",
      "metric",
      "local only",
      "FedAvg",
      "FedAvg − local",
      "cost of what is missing",
    ],
    rows: costsOf(tables).map(({ setting, dataset, title, local, federated, pays, cost }) => [
      setting,
      dataset,
      title,
      local?.toFixed(1) ?? "",
      federated.toFixed(1),
      pays === undefined ? "" : spreadText(pays),
      cost === undefined ? "" : spreadText(cost),
    ]),
  };
}

function strategies(tables: readonly DatasetTable[], gains: readonly Gain[]): Statement {
  const known = costsOf(tables);
  return {
    title: "What the added strategies give",
    about:
      "Difference to the same rule without them, seed by seed, in points, ± deviation. Regained: that difference as a share of what missing modalities cost FedAvg there, where they cost two points or more.",
    columns: ["method", "against", "dataset", "setting", "metric", "difference", "seeds", "regained"],
    rows: gains.map((gain) => {
      const share = regained(gain, known);
      return [
        gain.method.title,
        gain.base.title,
        gain.dataset,
        gain.setting,
        gain.title,
        spreadText({ ...gain, seeds: gain.differences.length }),
        String(gain.differences.length),
        share === undefined ? "" : `${share.toFixed(0)} %`,
      ];
    }),
  };
}

const number = ({ mean, deviation }: Entry): string =>
  `${mean.toFixed(1)}${deviation === undefined ? "" : ` ± ${deviation.toFixed(1)}`}`;

/** "+3.0 ± 1.2". */
function spreadText({ mean, deviation }: Spread): string {
  return `${mean >= 0 ? "+" : ""}${mean.toFixed(1)}${deviation === undefined ? "" : ` ± ${deviation.toFixed(1)}`}`;
}
