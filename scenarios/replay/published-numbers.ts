/**
 * The numbers that a replay stands beside: multi-round results of MiniCPM-V-2_6-int4 with 10 clients, a single run
 * each, no deviation reported. Hateful-Memes: AUC. CrisisMMD: macro F1. Medical (FedYogi): accuracy judged by a model.
 *
 * Source: YOCO, NeurIPS 2025, tables 1 to 4 (SLAKE beside VQA-RAD), https://openreview.net/forum?id=FoVF3iL6o3
 */
import type { DatasetName } from "../fedmllm/scenario.ts";
import { type Setting, settingName } from "./cell.ts";

const COLUMNS: readonly string[] = [
  "aligned-5",
  "aligned-1",
  "aligned-0.5",
  "missing-0.3",
  "missing-0.4",
  "missing-0.5",
  "cross-3",
  "cross-5",
  "cross-7",
  "hybrid-0.2",
  "hybrid-0.3",
  "hybrid-0.4",
];

type Rows = Readonly<Record<string, readonly number[]>>;

const HATEFUL_MEMES: Rows = {
  FedYogi: [75.74, 72.5, 74.32, 76.58, 76.75, 75.12, 68.71, 73.93, 75.94, 68.41, 68.55, 71.52],
  FedAdam: [74.02, 73.24, 72.97, 76.82, 77.28, 75.58, 65.71, 74.44, 74.95, 72.17, 70.12, 72.36],
  FedAvgM: [74.08, 72.94, 64.22, 60.62, 57.9, 57.34, 58.2, 61.57, 57.4, 61.55, 60.01, 58.93],
  FedAdagrad: [74.53, 73.34, 71.8, 71.97, 70.64, 70.59, 71.26, 72.48, 71.57, 68.77, 72.96, 69.26],
};

const CRISIS_MMD: Rows = {
  FedYogi: [60.95, 60.82, 61.46, 60.07, 56.76, 53.78, 49.3, 55.53, 59.2, 59.73, 63.04, 58.96],
  FedAdam: [61.8, 59.12, 60.56, 59.54, 57.64, 54.82, 53.17, 56.62, 59.22, 60.02, 61.01, 59.93],
  FedAvgM: [58.28, 56.87, 54.22, 32.64, 32.97, 31.72, 32.61, 38.62, 33.46, 46.26, 42.77, 39.44],
  FedAdagrad: [60.77, 60.43, 60.21, 56.96, 57.48, 55.55, 48.02, 49.97, 51.13, 57.58, 58.91, 53.84],
};

/** VQA-RAD, overall. */
const MEDICAL: Readonly<Record<string, number>> = {
  "cross-3": 58.98,
  "cross-5": 60.53,
  "cross-7": 60.98,
  "hybrid-0.2": 60.31,
  "hybrid-0.3": 60.54,
  "hybrid-0.4": 63.08,
};

/** SLAKE, overall: the model of the medical cells, which never saw it. */
const SLAKE: Readonly<Record<string, number>> = {
  "cross-3": 58.67,
  "cross-5": 56.74,
  "cross-7": 55.83,
  "hybrid-0.2": 57.83,
  "hybrid-0.3": 58.0,
  "hybrid-0.4": 57.05,
};

/** In per cent; undefined where the papers give no number. @param metric as the report's tables name it */
export function publishedNumber(
  dataset: DatasetName,
  metric: string,
  setting: Setting,
  row: string,
): number | undefined {
  const column = settingName(setting);
  switch (`${dataset} ${metric}`) {
    case "hateful-memes auc-hard":
      return HATEFUL_MEMES[row]?.[COLUMNS.indexOf(column)];
    case "crisis-mmd f1-macro":
      return CRISIS_MMD[row]?.[COLUMNS.indexOf(column)];
    case "medical vqa":
      return row === "FedYogi" ? MEDICAL[column] : undefined;
    case "medical slake-vqa":
      return row === "FedYogi" ? SLAKE[column] : undefined;
    default:
      return undefined;
  }
}
