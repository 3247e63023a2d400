/** Who pays for a good mean: recall by client and class, and what each client can expect for the labels that it has. */
import type { DatasetName } from "../../fedmllm/scenario.ts";
import type { BenchmarkDataset } from "../benchmark-data.ts";
import { type Setting, settingName } from "../cell.ts";
import { type Method, methodNamed } from "../methods.ts";
import type { CellResult } from "../run-cell.ts";
import { mean } from "./tables.ts";

export interface Fairness {
  readonly dataset: DatasetName;
  readonly setting: string;
  readonly classes: readonly string[];
  /** Client by class: share of the client's training examples. */
  readonly shares: readonly (readonly number[])[];
  /** Client by class: recall of the client's own adapter ("local"), in per cent. */
  readonly own: readonly (readonly number[])[] | undefined;
  readonly global: readonly GlobalRecall[];
}

/** One method's global adapter, mean over seeds. */
export interface GlobalRecall {
  readonly method: Method;
  /** By class, in per cent. */
  readonly recalls: readonly number[];
  /** By client: Σ_class share × recall. A client whose labels the adapter knows badly stands low. */
  readonly expected: readonly number[];
}

const PREFIX = "recall:";

/** @returns undefined where the dataset has no classes, or nothing was trained in the setting */
export function fairnessOf(
  dataset: BenchmarkDataset,
  setting: Setting,
  results: readonly CellResult[],
): Fairness | undefined {
  const inSetting = results.filter(
    ({ cell }) => cell.dataset === dataset.name && settingName(cell.setting) === settingName(setting),
  );
  const classes = [...new Set(inSetting.flatMap(({ metrics }) => Object.keys(metrics)))]
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => name.slice(PREFIX.length));
  if (classes.length === 0) return undefined;
  const recallsOf = (metrics: Readonly<Record<string, number>>): number[] =>
    classes.map((name) => metrics[PREFIX + name] ?? 0);
  const shares = dataset.clients(dataset.plan(setting)).map(({ shard: { train } }) => {
    return classes.map((name) => train.filter(({ label }) => label === name).length / train.length);
  });
  const methods = [...new Set(inSetting.map(({ cell }) => cell.method))].map(methodNamed);
  const global = methods
    .filter(({ kind }) => kind === "federated")
    .map((method): GlobalRecall => {
      const own = inSetting.filter(({ cell }) => cell.method === method.name);
      const bySeed = own.map(({ metrics }) => recallsOf(metrics));
      const recalls = classes.map((_, c) => mean(bySeed.map((seed) => seed[c]!)));
      const expected = shares.map((mix) => mix.reduce((sum, share, c) => sum + share * recalls[c]!, 0));
      return { method, recalls, expected };
    });
  const local = inSetting.find(({ perClient }) => perClient !== undefined);
  return {
    dataset: dataset.name,
    setting: settingName(setting),
    classes,
    shares,
    own: local?.perClient?.map(recallsOf),
    global,
  };
}
