/** The recorded runs of the published scripts: their shape, and fedloom's answer to each. */
import { join } from "node:path";
import { sha256 } from "../../base/hash.ts";
import { type PublishedRow, readJsonArrayRows } from "../../data/formats/published-rows.ts";
import type { PyObject, PyValue } from "../../data/python/json.ts";
import { dumpPythonJson } from "../../data/python/json.ts";
import type { Kept, PromptForm } from "../../data/prompts/multiple-choice.ts";
import {
  type MedicalRun,
  type MedicalSets,
  medicalMix,
  medicalRecord,
  medicalSingle,
  prepareMedical,
} from "../../scenarios/fedmllm/published/medical.ts";
import {
  keepModalities,
  type KeptModalities,
  type ModalityScenario,
} from "../../scenarios/fedmllm/published/modality.ts";
import type { PublishedPartition } from "../../scenarios/fedmllm/published/partition.ts";
import { classificationRecord, encodeRecords } from "../../scenarios/fedmllm/published/record.ts";
import { crisisMmd, hatefulMemes, type PublishedTask } from "../../scenarios/fedmllm/published/task.ts";
import { GOLDEN } from "./partitions-directory.ts";

export interface RecordedPartition {
  index: number;
  alpha: number;
  clients: number;
  seed: number;
  labelOrder: unknown[];
  proportions: number[][];
  sizes: number[][];
  order: unknown[][];
  sha256: string[];
}

export interface RecordedScenario {
  scenario: "aligned" | "missing" | "single" | "mix";
  value: number | null;
  partition: number;
  seed: number | null;
  listing: "sorted" | string[];
  imageClients?: number[];
  presence?: number[][];
  kept: string[];
  sha256: string[];
  sha256PromptStrategy?: string[];
}

export interface RecordedDataset {
  set: string;
  dataset: string;
  input: string;
  partitions: RecordedPartition[];
  scenarios: RecordedScenario[];
}

export interface RecordedMedicalRun {
  scenario: "single" | "mix";
  value: number;
  clients: number;
  seed: number;
  imageClients?: number[];
  textClients?: number[];
  injectedNumpySeed?: number;
  presenceDrawn?: [number, number][];
  presenceFinal?: [number, number][];
  assigned: [number, "i" | "t", number][][];
  sha256: string[];
  error?: string;
}

export interface RecordedMedical {
  set: string;
  processed: {
    vqaradTrainRows: number[];
    vqaradTestRows: number[];
    flashcardRows: number[];
    sha256: Record<string, string>;
  };
  runs: RecordedMedicalRun[];
}

const TASKS: Readonly<Record<string, PublishedTask>> = {
  hateful: hatefulMemes,
  crisis: crisisMmd,
  crisismmd: crisisMmd,
};

export function taskOf(dataset: string): PublishedTask {
  const task = TASKS[dataset];
  if (task === undefined) throw new Error(`A recorded dataset of unknown name ${dataset}`);
  return task;
}

export function rawRows(set: string, task: PublishedTask, part: "train" | "test"): PublishedRow[] {
  return task.read(join(GOLDEN, "raw", set, task.folder, task[part]));
}

export function rawMedical(set: string): {
  vqaRad: PublishedRow[];
  flashcards: PublishedRow[];
  slake: PublishedRow[];
} {
  const read = (name: string): PublishedRow[] => readJsonArrayRows(join(GOLDEN, "raw", set, "medical", name));
  return {
    vqaRad: read("VQA_RAD Dataset Public.json"),
    flashcards: read("medical_meadow_wikidoc_medical_flashcards.json"),
    slake: read("Slake1.0/test.json"),
  };
}

/** A JSON value as the recordings hold it: integers as numbers. */
export function plain(value: PyValue): unknown {
  return JSON.parse(dumpPythonJson(value, { ascii: false }));
}

export function letterOf({ text, image }: Kept): string {
  if (text && image) return "b";
  return image ? "i" : text ? "t" : "n";
}

function scenarioOf(recorded: RecordedScenario): ModalityScenario {
  switch (recorded.scenario) {
    case "aligned":
      return { name: "aligned" };
    case "single":
      return { name: "single", imageClients: recorded.value! };
    case "missing":
    case "mix":
      return { name: recorded.scenario, rate: recorded.value! };
    default:
      throw new Error(`A recorded scenario of unknown name ${recorded.scenario}`);
  }
}

export function runScenario(recorded: RecordedScenario, partition: PublishedPartition): KeptModalities {
  const counts = partition.clients.map((rows) => rows.length);
  return keepModalities(scenarioOf(recorded), counts, {
    ...(recorded.seed === null ? {} : { seed: recorded.seed }),
    ...(recorded.listing === "sorted"
      ? {}
      : { listing: recorded.listing.map((name) => Number(/^client_(\d+)\.json$/.exec(name)![1])) }),
  });
}

export function recordsOfClient(
  task: PublishedTask,
  partition: PublishedPartition,
  kept: KeptModalities,
  client: number,
  form: PromptForm,
): PyObject[] {
  return partition.clients[client]!.map((row, i) =>
    classificationRecord(task, row, kept.kept[client]![i]!, form),
  );
}

export function hashesOf(
  task: PublishedTask,
  partition: PublishedPartition,
  kept: KeptModalities,
  form: PromptForm,
): string[] {
  return partition.clients.map((_, client) =>
    sha256(encodeRecords(recordsOfClient(task, partition, kept, client, form))),
  );
}

export function medicalSets(set: string): MedicalSets {
  const raw = rawMedical(set);
  return prepareMedical(raw.vqaRad, raw.flashcards);
}

export function runMedical(sets: MedicalSets, recorded: RecordedMedicalRun): MedicalRun {
  const setting = {
    clients: recorded.clients,
    seed: recorded.seed,
    vqaTrain: sets.vqaTrain.length,
    flashcards: sets.flashcards.length,
  };
  return recorded.scenario === "single"
    ? medicalSingle(recorded.value, setting)
    : medicalMix({ numpySeed: recorded.injectedNumpySeed!, rate: recorded.value }, setting);
}

export function medicalRecords(sets: MedicalSets, run: MedicalRun, client: number): PyObject[] {
  return run.clients[client]!.map((item) => medicalRecord(sets, item));
}
