/**
 * Radiology-like: questions about drawn scans (VQA-RAD's form), the same with other words and another look (SLAKE's
 * form, for transfer), and flashcards that are text alone (MedAlpaca's form).
 */
import type { Rng } from "../../base/rng.ts";
import { drawScan, PARTS, type Part, PLACES, type Scan } from "../scenes/scene.ts";
import { jsonArray, type Standin, type StandinFiles, type StandinPicture } from "./standin.ts";

interface Question {
  readonly question: string;
  readonly answer: string;
  readonly type: "OPEN" | "CLOSED";
}

/** Words that no lesson of the embedded model ties to scans. */
const ORGAN: Readonly<Record<Part, string>> = { chest: "lung", head: "brain", belly: "liver" };
const COUNTS = ["none", "one", "two"] as const;

interface Wording {
  readonly organ: string;
  readonly where: string;
  readonly count: string;
  readonly normal: string;
  side(side: string): string;
}

const TRAINED: Wording = {
  organ: "which organ is shown",
  where: "where is the lesion",
  count: "how many lesion are there",
  normal: "is this normal",
  side: (side) => `is there a lesion at the ${side}`,
};
/** Other words for the same questions: the test of transfer. */
const SHIFTED: Wording = {
  organ: "what organ is in the image",
  where: "where is the mass",
  count: "how many mass are in the image",
  normal: "is the image normal",
  side: (side) => `is there a mass in the ${side}`,
};

function drawQuestion(scan: Scan, wording: Wording, rng: Rng): Question {
  const places = PLACES.filter((_, i) => scan.spots[i]);
  const side = rng.uniform() < 0.5 ? "left" : "right";
  const onSide = places.some((place) => place.endsWith(side));
  const questions: Question[] = [
    { question: wording.organ, answer: ORGAN[scan.part], type: "OPEN" },
    { question: wording.count, answer: COUNTS[places.length]!, type: "OPEN" },
    { question: wording.normal, answer: places.length === 0 ? "yes" : "no", type: "CLOSED" },
    { question: wording.side(side), answer: onSide ? "yes" : "no", type: "CLOSED" },
  ];
  if (places.length === 1) questions.push({ question: wording.where, answer: places[0]!, type: "OPEN" });
  return questions[rng.below(questions.length)]!;
}

function drawRows(count: number, rng: Rng): { scan: Scan; part: Part }[] {
  return Array.from({ length: count }, () => {
    const part = PARTS[rng.below(PARTS.length)]!;
    return { part, scan: drawScan(rng, part) };
  });
}

export const radiology: Standin = {
  name: "radiology",
  format: "vqa-rad",
  folder: "medical",
  sizes: {
    quick: { train: 600, test: 200 },
    standard: { train: 1200, test: 500 },
    full: { train: 3064, test: 451 },
  },
  about:
    "Stands in for VQA-RAD (open and closed questions about medical pictures). Drawn scans of three body parts with none to two bright spots; organ, number and place are open questions, normal and side closed ones.",
  draw(size, rng): StandinFiles {
    const pictures: StandinPicture[] = [];
    const rows = drawRows(size.train + size.test, rng).map(({ scan, part }, i) => {
      const image_name = `drawn${String(i).padStart(5, "0")}.png`;
      pictures.push({ path: `VQA_RAD Image Folder/${image_name}`, picture: scan });
      const { question, answer, type } = drawQuestion(scan, TRAINED, rng);
      return {
        qid: String(i),
        phrase_type: i < size.train ? "freeform" : "test_freeform",
        image_name,
        image_organ: part.toUpperCase(),
        question,
        answer,
        answer_type: type,
      };
    });
    return { pictures, texts: { "VQA_RAD Dataset Public.json": jsonArray(rows) } };
  },
};

export const slake: Standin = {
  name: "slake",
  format: "slake",
  folder: "medical/Slake1.0",
  sizes: {
    quick: { train: 0, test: 200 },
    standard: { train: 0, test: 500 },
    full: { train: 0, test: 1061 },
  },
  about:
    "Stands in for SLAKE (test only): scans as in the radiology set, asked in other words. A model trained on the radiology set meets it without training on it.",
  draw(size, rng): StandinFiles {
    const pictures: StandinPicture[] = [];
    const rows = drawRows(size.test, rng).map(({ scan, part }, i) => {
      const img_name = `drawn${i}/source.png`;
      pictures.push({ path: `imgs/${img_name}`, picture: scan });
      const { question, answer, type } = drawQuestion(scan, SHIFTED, rng);
      return {
        img_id: i,
        img_name,
        question,
        answer,
        q_lang: "en",
        location: part,
        modality: "drawn",
        answer_type: type,
        base_type: "vqa",
        content_type: "drawn",
        qid: i,
      };
    });
    return { pictures, texts: { "test.json": jsonArray(rows) } };
  },
};

const CONDITIONS = [
  "fever",
  "cough",
  "pain",
  "rash",
  "blood",
  "heart",
  "kidney",
  "skin",
  "bone",
  "lung",
  "brain",
  "liver",
  "water",
  "food",
  "storm",
  "fire",
  "flood",
  "road",
  "bridge",
  "house",
  "truck",
  "car",
  "home",
  "night",
] as const;
const REMEDIES = ["rest", "surgery", "vitamin", "drug"] as const;
const MANNERS = ["one", "two", "more", "daily", "now", "later"] as const;
const CARD_QUESTIONS = ["what treats", "what helps with", "which treatment for"] as const;

export const flashcards: Standin = {
  name: "flashcards",
  format: "flashcards",
  folder: "medical",
  sizes: {
    quick: { train: 300, test: 0 },
    standard: { train: 1200, test: 0 },
    full: { train: 33_955, test: 0 },
  },
  about:
    "Stands in for the MedAlpaca flashcards (text alone). Twenty-four invented conditions, each with an invented remedy of two words to be learned by heart; clients without pictures train on it.",
  draw(size, rng): StandinFiles {
    const remedies = rng
      .fork("remedies")
      .shuffle(REMEDIES.flatMap((what) => MANNERS.map((how) => `${how} ${what}`)));
    const rows = Array.from({ length: size.train }, () => {
      const condition = rng.below(CONDITIONS.length);
      const asked = CARD_QUESTIONS[rng.below(CARD_QUESTIONS.length)]!;
      return {
        input: `${asked} ${CONDITIONS[condition]}?`,
        output: remedies[condition]!,
        instruction: "Answer this question truthfully",
      };
    });
    return { pictures: [], texts: { "medical_meadow_wikidoc_medical_flashcards.json": jsonArray(rows) } };
  },
};
