/** A partition of the benchmark as its scripts make it, with the files they write. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { FedloomError } from "../../base/errors.ts";
import { FLASHCARDS_FILE, flashcardId, VQA_RAD_FILE, vqaRadId } from "../../data/formats/medical.ts";
import { requireFolder } from "../../data/formats/published.ts";
import { type PublishedRow, plainText, readJsonArrayRows } from "../../data/formats/published-rows.ts";
import type { PromptForm } from "../../data/prompts/multiple-choice.ts";
import { pythonStr } from "../../data/python/json.ts";
import { pythonFloat } from "../../data/python/text.ts";
import type { ShardEntry } from "../../data/shards.ts";
import { type Plan, partitionOf } from "../plan.ts";
import {
  encodeMedicalSets,
  MEDICAL_SEED,
  type MedicalRun,
  medicalMix,
  medicalRecord,
  medicalSingle,
  prepareMedical,
} from "./published/medical.ts";
import { keepModalities, type ModalityScenario } from "./published/modality.ts";
import { encodeRows, PARTITION_SEED, partitionRows } from "./published/partition.ts";
import { classificationRecord, encodeRecords } from "./published/record.ts";
import { PUBLISHED_TASKS, type PublishedTask } from "./published/task.ts";
import { requirePublished, type Scenario } from "./scenario.ts";

export interface PublishedRequest {
  readonly scenario: Scenario;
  readonly dataset: string;
  readonly level: number;
  /** Directory of the raw files. */
  readonly data: string;
  readonly clients?: number;
  /** Of all scripts; the published one where absent. */
  readonly seed?: number;
  /** The seed that numpy would have had in the medical mix script. */
  readonly numpySeed?: number;
  /** Clients in the order in which their files are visited; by file name where absent. */
  readonly listing?: readonly number[];
  readonly prompt?: PromptForm;
}

/** @throws FedloomError F6002 outside what is published, F6003 where the script would not end, F2xxx for the data */
export function publishedPlan(request: PublishedRequest): Plan {
  requirePublished(request.scenario, request.dataset, request.level);
  if (
    request.prompt === "modality-agnostic" &&
    (request.scenario.script === "aligned" || request.dataset === "medical")
  ) {
    throw new FedloomError(
      "F6002",
      `Cannot write "${request.dataset}", scenario "${request.scenario.name}", in the modality-agnostic wording as published: it is published for missing, cross and hybrid of hateful-memes and crisis-mmd`,
      { dataset: request.dataset, scenario: request.scenario.name },
    );
  }
  const task = PUBLISHED_TASKS.find((one) => one.name === request.dataset);
  return task === undefined ? medicalPlan(request) : classificationPlan(request, task);
}

function titleOf(request: PublishedRequest, seed: number): string {
  const { scenario, dataset, level } = request;
  return `${dataset}, ${scenario.name} ${level}, as published (seed ${seed})`;
}

function listingOf(request: PublishedRequest, clients: number): readonly number[] | undefined {
  const listing = request.listing;
  if (listing === undefined) return undefined;
  if (
    listing.length === clients &&
    new Set(listing).size === clients &&
    listing.every((i) => i >= 0 && i < clients)
  ) {
    return listing;
  }
  throw new FedloomError(
    "F6002",
    `Cannot visit the client files in this order: it must name each of ${clients} clients once, got ${listing.join(",")}`,
    { listing },
  );
}

function scriptOf(scenario: Scenario, level: number): ModalityScenario {
  switch (scenario.script) {
    case "aligned":
      return { name: "aligned" };
    case "single":
      return { name: "single", imageClients: level };
    default:
      return { name: scenario.script, rate: level };
  }
}

/** Folders of the authors' scripts, below the dataset's own. CrisisMMD's prompt strategy writes over the plain files. */
function outputFolder(request: PublishedRequest): string {
  const { scenario, level, dataset, prompt } = request;
  const variant =
    dataset === "medical"
      ? "-1"
      : prompt === "modality-agnostic" && dataset === "hateful-memes"
        ? "-aug"
        : "";
  switch (scenario.script) {
    case "aligned":
      return "minicpmv_data";
    case "missing":
      return `minicpmv_data/modality-missing${variant}/mrate-${pythonFloat(level)}`;
    case "single":
      return `minicpmv_data/modality-single${variant}/image-${level}`;
    case "mix":
      return `minicpmv_data/modality-mix${variant}/qrate-${pythonFloat(level)}`;
    default:
      return scenario.script satisfies never;
  }
}

function classificationPlan(request: PublishedRequest, task: PublishedTask): Plan {
  const { scenario, level, clients = scenario.clients, prompt = "standard" } = request;
  const alpha = scenario.script === "aligned" ? level : scenario.alpha!;
  const seed = request.seed ?? PARTITION_SEED;
  const folder = requireFolder(task.name, request.data, task.train, task.folder);
  const rows = task.read(join(folder, task.train));
  const ids = requireDifferentIds(task, rows);
  const listing = listingOf(request, clients);
  const dealt = partitionRows(task, rows, { alpha, clients, seed });
  const counts = dealt.clients.map((own) => own.length);
  const { kept } = keepModalities(scriptOf(scenario, level), counts, {
    seed,
    ...(listing === undefined ? {} : { listing }),
  });

  const name = `partition-alpha${pythonFloat(alpha)}-clt${clients}`;
  const files = new Map<string, () => string>();
  for (const [client, own] of dealt.clients.entries()) {
    const below = `data/${task.folder}`;
    files.set(`${below}/raw_data/${name}/client_${client}.json`, () => encodeRows(own));
    files.set(`${below}/${outputFolder(request)}/${name}/client_${client}.json`, () =>
      encodeRecords(own.map((row, i) => classificationRecord(task, row, kept[client]![i]!, prompt))),
    );
  }
  const shards = dealt.clients.map((own, client) =>
    own.map((row, i): ShardEntry => {
      const { text, image } = kept[client]![i]!;
      return {
        id: ids.get(row)!,
        keep: [...(text ? ["text" as const] : []), ...(image ? ["image" as const] : [])],
      };
    }),
  );
  const labelOf = (row: PublishedRow): string =>
    task.answer(row)?.replace(/^\([A-Z]\) /, "") ?? pythonStr(task.label(row)) ?? "(no label)";
  return {
    title: titleOf(request, seed),
    partition: partitionOf(shards),
    labels: new Map(rows.map((row) => [ids.get(row)!, labelOf(row)])),
    notes: scenario.quirks,
    publishedFiles: files,
  };
}

function requireDifferentIds(task: PublishedTask, rows: readonly PublishedRow[]): Map<PublishedRow, string> {
  const places = new Map<string, PublishedRow>();
  return new Map(
    rows.map((row) => {
      const id = pythonStr(task.id(row)) ?? "";
      const earlier = places.get(id);
      if (earlier !== undefined) {
        throw new FedloomError(
          "F2004",
          `${row.file}:${row.line}: the id "${id}" is taken: line ${earlier.line} has it`,
          { id },
        );
      }
      places.set(id, row);
      return [row, id];
    }),
  );
}

function medicalPlan(request: PublishedRequest): Plan {
  const { scenario, level, clients = scenario.clients } = request;
  const seed = request.seed ?? MEDICAL_SEED;
  const folder = requireFolder("medical", request.data, VQA_RAD_FILE, "medical");
  const cards = join(folder, FLASHCARDS_FILE);
  if (!existsSync(cards)) {
    throw new FedloomError(
      "F2002",
      `Cannot read the medical dataset ${folder}: "${FLASHCARDS_FILE}" is expected there`,
      { folder },
    );
  }
  const sets = prepareMedical(readJsonArrayRows(join(folder, VQA_RAD_FILE)), readJsonArrayRows(cards));
  const setting = { clients, seed, vqaTrain: sets.vqaTrain.length, flashcards: sets.flashcards.length };
  const numpySeed = request.numpySeed ?? scenario.datasets.medical!.numpySeed ?? 0;
  const run: MedicalRun =
    scenario.script === "single"
      ? medicalSingle(level, setting)
      : medicalMix({ numpySeed, rate: level }, setting);

  const files = new Map<string, () => string>();
  for (const [name, content] of Object.entries(encodeMedicalSets(sets))) {
    files.set(`data/medical/raw_data/${name}`, () => content);
  }
  const below = `data/medical/${outputFolder(request)}`;
  for (const [client, own] of run.clients.entries()) {
    files.set(`${below}/client_${client}.json`, () =>
      encodeRecords(own.map((item) => medicalRecord(sets, item))),
    );
  }
  const labels = new Map<string, string>();
  const shards = run.clients.map((own) =>
    own.map(({ kind, index }): ShardEntry => {
      const row = kind === "image" ? sets.vqaTrain[index]! : sets.flashcards[index]!;
      const id = kind === "image" ? vqaRadId(row) : flashcardId(row);
      labels.set(id, kind === "image" ? plainText(row, "answer_type").trim() : "flashcard");
      return { id, keep: kind === "image" ? ["text", "image"] : ["text"] };
    }),
  );
  const title =
    scenario.script === "mix" ? `${titleOf(request, seed)}, numpy seed ${numpySeed}` : titleOf(request, seed);
  return { title, partition: partitionOf(shards), labels, notes: scenario.quirks, publishedFiles: files };
}
