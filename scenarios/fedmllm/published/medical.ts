/**
 * The medical scripts: radiology questions for clients with images, flashcards for clients with text, each set
 * shuffled and cut into equal blocks.
 *
 * Quirks, all kept: image clients come in the order drawn, text clients in the order of a CPython set; the mix script
 * never seeds numpy, so its seed is a parameter here; it divides by zero where a modality has no client (refused).
 *
 * Source: FedMLLM, data_gen/data_process_{vqarad,medalpaca}.py and gen_data_medical_vtqa_{single,mix}.py
 */
import { FedloomError } from "../../../base/errors.ts";
import { member, type PublishedRow, plainText } from "../../../data/formats/published-rows.ts";
import { dumpPythonJson, type PyObject, type PyValue } from "../../../data/python/json.ts";
import { PythonRandom } from "../../cpython/random.ts";
import { setDifferenceOrder } from "../../cpython/set-order.ts";
import { RandomState } from "../../numpy/random-state.ts";
import { drawPresence } from "./modality.ts";
import { IMAGE_ROOT, record } from "./record.ts";

/** What the preparation scripts take from the raw files: row numbers from 0. */
export interface MedicalSets {
  readonly vqaTrain: readonly PublishedRow[];
  readonly vqaTest: readonly PublishedRow[];
  readonly flashcards: readonly PublishedRow[];
}

/** VQA-RAD by its phrase types; flashcards where both keys are there. Others are dropped. */
export function prepareMedical(
  vqaRad: readonly PublishedRow[],
  flashcards: readonly PublishedRow[],
): MedicalSets {
  const phrase = (row: PublishedRow, ...types: readonly PyValue[]): boolean =>
    types.includes(row.members.get("phrase_type") ?? null);
  return {
    vqaTrain: vqaRad.filter((row) => phrase(row, "freeform", "para")),
    vqaTest: vqaRad.filter((row) => phrase(row, "test_freeform", "test_para")),
    flashcards: flashcards.filter((row) => row.members.has("input") && row.members.has("output")),
  };
}

/** The three files that the preparation scripts write, by name. */
export function encodeMedicalSets(sets: MedicalSets): Record<string, string> {
  const pick = (row: PublishedRow, pairs: readonly (readonly [from: string, to: string])[]): PyObject =>
    new Map(pairs.map(([from, to]) => [to, member(row, from)]));
  const vqa = ["image_name", "question", "answer"].map((key) => [key, key] as const);
  const card = [["input", "question"] as const, ["output", "answer"] as const];
  const write = (items: PyObject[], ascii: boolean): string => dumpPythonJson(items, { ascii, indent: 4 });
  return {
    "vqarad_train.json": write(
      sets.vqaTrain.map((row) => pick(row, vqa)),
      true,
    ),
    "vqarad_test.json": write(
      sets.vqaTest.map((row) => row.members),
      true,
    ),
    "medalpha_train.json": write(
      sets.flashcards.map((row) => pick(row, card)),
      false,
    ),
  };
}

export interface MedicalItem {
  /** The running number that the record has for its id. */
  readonly id: number;
  readonly kind: "image" | "text";
  /** In the prepared VQA-RAD training set or flashcards. */
  readonly index: number;
}

export interface MedicalRun {
  /** Each client's items in file order. */
  readonly clients: readonly (readonly MedicalItem[])[];
  readonly imageClients: readonly number[];
  readonly textClients: readonly number[];
  /** mix: client x [image, text], as drawn and after clients with neither were given one. */
  readonly presenceDrawn?: readonly (readonly [number, number])[];
  readonly presenceFinal?: readonly (readonly [number, number])[];
}

/** The published seed of the medical scripts. */
export const MEDICAL_SEED = 41;

interface Setting {
  readonly clients: number;
  readonly vqaTrain: number;
  readonly flashcards: number;
  readonly seed?: number;
}

/** Python's shuffle, then blocks of floor(count / parts); the last also takes the remainder. */
function cut(python: PythonRandom, count: number, parts: number): number[][] {
  const order = Array.from({ length: count }, (_, i) => i);
  const size = Math.floor(count / parts);
  python.shuffle(order);
  return Array.from({ length: parts }, (_, i) =>
    order.slice(i * size, i + 1 === parts ? count : (i + 1) * size),
  );
}

/** As the `single` script: `imageClients` clients with questions, the others with flashcards. */
export function medicalSingle(imageCount: number, setting: Setting): MedicalRun {
  const python = new PythonRandom(setting.seed ?? MEDICAL_SEED);
  const all = Array.from({ length: setting.clients }, (_, i) => i);
  const imageClients = python.sample(all, imageCount);
  const textClients = setDifferenceOrder(setting.clients, imageClients);
  requireBoth(imageClients.length, textClients.length);
  const clients: MedicalItem[][] = all.map(() => []);
  let id = 0;
  for (const [kind, chosen, count] of [
    ["image", imageClients, setting.vqaTrain],
    ["text", textClients, setting.flashcards],
  ] as const) {
    const blocks = cut(python, count, chosen.length);
    for (const [i, client] of chosen.entries()) {
      clients[client] = blocks[i]!.map((index) => ({ id: id++, kind, index }));
    }
  }
  return { clients, imageClients, textClients };
}

/** @param presence the seed that numpy would have had, or the matrix itself, client x [image, text] */
export function medicalMix(
  presence: { numpySeed: number; rate: number } | { matrix: readonly (readonly [number, number])[] },
  setting: Setting,
): MedicalRun {
  const python = new PythonRandom(setting.seed ?? MEDICAL_SEED);
  const presenceDrawn =
    "matrix" in presence
      ? presence.matrix
      : drawPresence(new RandomState(presence.numpySeed), setting.clients, presence.rate);
  const presenceFinal = presenceDrawn.map(([image, text]): [number, number] => {
    if (image === 1 || text === 1) return [image, text];
    return python.random() < 0.5 ? [1, 0] : [0, 1];
  });
  const having = (modality: 0 | 1): number[] =>
    [...presenceFinal.keys()].filter((client) => presenceFinal[client]![modality] === 1);
  const [imageClients, textClients] = [having(0), having(1)];
  requireBoth(imageClients.length, textClients.length);
  const images = cut(python, setting.vqaTrain, imageClients.length);
  const texts = cut(python, setting.flashcards, textClients.length);
  let id = 0;
  const clients = presenceFinal.map(([image, text]) => {
    const own: MedicalItem[] = [];
    if (image === 1) for (const index of images.shift()!) own.push({ id: id++, kind: "image", index });
    if (text === 1) for (const index of texts.shift()!) own.push({ id: id++, kind: "text", index });
    if (image === 1 && text === 1) python.shuffle(own);
    return own;
  });
  return { clients, imageClients, textClients, presenceDrawn, presenceFinal };
}

function requireBoth(images: number, texts: number): void {
  if (images > 0 && texts > 0) return;
  throw new FedloomError(
    "F6003",
    `Cannot partition as published: ${images === 0 ? "no client keeps images" : "no client keeps text"}, and the published script divides by their number; choose another seed or level`,
    { images, texts },
  );
}

export function medicalRecord(sets: MedicalSets, item: MedicalItem): PyObject {
  const [row, asked, answered] =
    item.kind === "image"
      ? [sets.vqaTrain[item.index]!, "question", "answer"]
      : [sets.flashcards[item.index]!, "input", "output"];
  const question = plainText(row, asked);
  const answer = plainText(row, answered);
  if (item.kind === "text") return record(BigInt(item.id), null, question, answer);
  const image = `${IMAGE_ROOT}/medical/raw_data/images/${plainText(row, "image_name")}`;
  return record(BigInt(item.id), image, `<image>\n${question}`, answer);
}
