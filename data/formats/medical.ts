/**
 * The benchmark's medical sets: VQA-RAD (questions on radiology images), SLAKE (the same, used as a shifted test set;
 * English questions only) and MedAlpaca's flashcards (text only), each alone or all in one directory.
 *
 * Sources: Lau et al. 2018, https://doi.org/10.1038/sdata.2018.251; Liu et al. 2021, https://arxiv.org/abs/2102.09542;
 * Han et al. 2023, https://arxiv.org/abs/2304.08247
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Split } from "../dataset.ts";
import type { Example } from "../example.ts";
import { Collector } from "./collector.ts";
import type { DatasetFormat } from "./format.ts";
import { addRows, folderHolding, holds, problemsInto, requireFolder } from "./published.ts";
import { type PublishedRow, plainText, readJsonArrayRows, textMember } from "./published-rows.ts";

export const VQA_RAD_FILE = "VQA_RAD Dataset Public.json";
export const FLASHCARDS_FILE = "medical_meadow_wikidoc_medical_flashcards.json";
const SLAKE_FILE = join("Slake1.0", "test.json");

/** Ids by the row's number: the files have none of their own that all sets share. */
export const vqaRadId = (row: PublishedRow): string => `vqa-rad:${row.index}`;
export const flashcardId = (row: PublishedRow): string => `flashcard:${row.index}`;

function question(
  row: PublishedRow,
  id: string,
  folder: string,
  collector: Collector,
  image: string,
): Example | undefined {
  const medium = collector.media(row, folder, image);
  if (medium === undefined) return undefined;
  return {
    id,
    turns: [
      { role: "user", content: `<image>\n${plainText(row, "question")}` },
      { role: "assistant", content: plainText(row, "answer") },
    ],
    images: [medium],
    audios: [],
    label: plainText(row, "answer_type").trim(),
    fields: { answer_type: plainText(row, "answer_type") },
  };
}

const PHRASES: Readonly<Record<string, Split>> = {
  freeform: "train",
  para: "train",
  test_freeform: "held-out",
  test_para: "held-out",
};

/** Rows of other phrase types are passed over, as the benchmark does. */
function readVqaRad(folder: string, collector: Collector): void {
  const images = ["VQA_RAD Image Folder", "images"].map((name) => join(folder, name));
  const imageFolder = images.find((path) => existsSync(path)) ?? images[1]!;
  const rows = readJsonArrayRows(join(folder, VQA_RAD_FILE), problemsInto(collector));
  for (const split of ["train", "held-out"] as const) {
    const own = rows.filter((row) => PHRASES[String(row.members.get("phrase_type"))] === split);
    addRows(collector, split, own, (row) =>
      question(row, vqaRadId(row), imageFolder, collector, textMember(row, "image_name")),
    );
  }
}

/** Cards without question or answer are passed over, as the benchmark does. */
function readFlashcards(folder: string, collector: Collector): void {
  const rows = readJsonArrayRows(join(folder, FLASHCARDS_FILE), problemsInto(collector));
  const whole = rows.filter((row) => row.members.has("input") && row.members.has("output"));
  addRows(collector, "train", whole, (row) => ({
    id: flashcardId(row),
    turns: [
      { role: "user", content: plainText(row, "input") },
      { role: "assistant", content: plainText(row, "output") },
    ],
    images: [],
    audios: [],
    label: "flashcard",
  }));
}

function readSlake(
  folder: string,
  collector: Collector,
  splits: readonly (readonly [string, Split])[],
): void {
  for (const [name, split] of splits) {
    const file = join(folder, name);
    if (!existsSync(file)) continue;
    const english = readJsonArrayRows(file, problemsInto(collector)).filter(
      (row) => row.members.get("q_lang") === "en",
    );
    addRows(collector, split, english, (row) =>
      question(
        row,
        `slake-${split}:${row.index}`,
        join(folder, "imgs"),
        collector,
        textMember(row, "img_name"),
      ),
    );
  }
}

export const vqaRadFormat: DatasetFormat = {
  name: "vqa-rad",
  expects: `"${VQA_RAD_FILE}", pictures in images/ or "VQA_RAD Image Folder/"`,
  recognizes: (place) => holds(place, VQA_RAD_FILE) && !holds(place, FLASHCARDS_FILE),
  async read(place, options) {
    const collector = new Collector(options);
    readVqaRad(requireFolder(this.name, place.path, VQA_RAD_FILE, "medical"), collector);
    return collector.splits;
  },
};

export const flashcardsFormat: DatasetFormat = {
  name: "flashcards",
  expects: `"${FLASHCARDS_FILE}" of {"input", "output"}`,
  recognizes: (place) => holds(place, FLASHCARDS_FILE) && !holds(place, VQA_RAD_FILE),
  async read(place, options) {
    const collector = new Collector(options);
    readFlashcards(requireFolder(this.name, place.path, FLASHCARDS_FILE, "medical"), collector);
    return collector.splits;
  },
};

export const slakeFormat: DatasetFormat = {
  name: "slake",
  expects:
    "train.json, validation.json, test.json of Slake1.0, pictures in imgs/; English questions are read",
  recognizes: (place) => holds(place, "test.json") && existsSync(join(place.path, "imgs")),
  async read(place, options) {
    const collector = new Collector(options);
    const folder = requireFolder(this.name, place.path, "test.json", "Slake1.0");
    readSlake(folder, collector, [
      ["train.json", "train"],
      ["validation.json", "validation"],
      ["test.json", "held-out"],
    ]);
    return collector.splits;
  },
};

/** VQA-RAD's test questions and SLAKE's are both held out; their ids tell them apart. */
export const medicalFormat: DatasetFormat = {
  name: "fedmllm-medical",
  expects: `"${VQA_RAD_FILE}" and "${FLASHCARDS_FILE}" (and Slake1.0/test.json) in one directory`,
  recognizes: (place) => holds(place, VQA_RAD_FILE) && holds(place, FLASHCARDS_FILE),
  async read(place, options) {
    const collector = new Collector(options);
    const folder = requireFolder(this.name, place.path, VQA_RAD_FILE, "medical");
    readVqaRad(folder, collector);
    readFlashcards(requireFolder(this.name, place.path, FLASHCARDS_FILE, "medical"), collector);
    const slake = folderHolding(place.path, SLAKE_FILE, "medical");
    if (slake !== undefined) readSlake(join(slake, "Slake1.0"), collector, [["test.json", "held-out"]]);
    return collector.splits;
  },
};
