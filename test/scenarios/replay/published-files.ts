/** Made-up datasets, file for file as published: a few rows each, and pictures of other sizes and kinds than stand-ins have. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { CRISIS_CLASSES } from "../../../data/prompts/multiple-choice.ts";

const count = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));

function memes(): Record<string, string> {
  const rows = (from: number, n: number): string =>
    count(n, (i) => {
      const id = from + i;
      return `${JSON.stringify({ id, img: `img/${String(id).padStart(5, "0")}.png`, label: i % 2, text: `saying number ${id}` })}\n`;
    }).join("");
  return {
    "hateful_memes/train.jsonl": rows(1, 80),
    "hateful_memes/dev_seen.jsonl": rows(81, 4),
    "hateful_memes/test_seen.jsonl": rows(85, 8),
  };
}

/** All columns of the published tables; labels of text and image differ in some rows, tweets hold quotes and addresses. */
function crisis(): Record<string, string> {
  const head =
    "event_name\ttweet_id\timage_id\ttweet_text\timage\tlabel\tlabel_text\tlabel_image\tlabel_text_image";
  const rows = (from: number, n: number): string =>
    count(n, (i) => {
      const tweet = 900 + from + i;
      const label = CRISIS_CLASSES[i % CRISIS_CLASSES.length]!;
      return [
        "hurricane_maria",
        tweet,
        `${tweet}_0`,
        `RT @someone: "water" everywhere & rising https://t.co/${tweet}`,
        `data_image/hurricane_maria/20_9_2017/${tweet}_0.jpg`,
        label,
        "not_humanitarian",
        label,
        "Negative",
      ].join("\t");
    })
      .join("\n")
      .concat("\n");
  const table = (part: string): string =>
    `crisis-mmd/crisismmd_datasplit_all/task_humanitarian_text_img_${part}.tsv`;
  return {
    [table("train")]: `${head}\n${rows(0, 320)}`,
    [table("dev")]: `${head}\n${rows(320, 8)}`,
    [table("test")]: `${head}\n${rows(328, 8)}`,
  };
}

function medical(): Record<string, string> {
  const question = (i: number, phrase_type: string) => ({
    qid: String(i),
    phrase_type,
    qid_linked_id: `03f451ca-${i}`,
    image_case_url: `https://medpix.nlm.nih.gov/case?id=${i}`,
    image_name: `synpic${41_000 + (i % 6)}.jpg`,
    image_organ: "CHEST",
    evaluation: "evaluated",
    question: `Is there a shadow in field ${i}?`,
    question_rephrase: "NULL",
    question_relation: "strict agreement",
    question_type: "PRES",
    answer: i % 2 === 0 ? "yes" : `lobe ${i % 3}`,
    answer_type: i % 2 === 0 ? "CLOSED" : "OPEN",
  });
  const rad = [
    ...count(60, (i) => question(i, i % 3 === 0 ? "para" : "freeform")),
    ...count(6, (i) => question(60 + i, i % 2 === 0 ? "test_freeform" : "test_para")),
  ];
  const cards = count(60, (i) => ({
    input: `What does enzyme ${i} do?`,
    output: `It splits bond ${i}.`,
    instruction: "Answer this question truthfully",
  }));
  const slake = count(6, (i) => ({
    img_id: i,
    img_name: `xmlab${i % 3}/source.jpg`,
    question: i % 2 === 1 ? "这是什么器官?" : i % 4 === 0 ? "Which organ is this?" : "Is this a lung?",
    answer: i % 4 === 2 ? "Yes" : "Lung",
    q_lang: i % 2 === 0 ? "en" : "zh",
    location: "Lung",
    modality: "X-Ray",
    answer_type: i % 4 === 2 ? "CLOSED" : "OPEN",
    base_type: "vqa",
    content_type: "Organ",
    triple: ["vhead", "_", "_"],
    qid: 11_000 + i,
  }));
  return {
    "medical/VQA_RAD Dataset Public.json": JSON.stringify(rad, null, 4),
    "medical/medical_meadow_wikidoc_medical_flashcards.json": JSON.stringify(cards, null, 4),
    "medical/Slake1.0/test.json": JSON.stringify(slake),
  };
}

const PICTURES: readonly string[] = [
  ...count(92, (i) => `hateful_memes/img/${String(1 + i).padStart(5, "0")}.png`),
  ...count(336, (i) => `crisis-mmd/data_image/hurricane_maria/20_9_2017/${900 + i}_0.jpg`),
  ...count(6, (i) => `medical/VQA_RAD Image Folder/synpic${41_000 + i}.jpg`),
  ...count(3, (i) => `medical/Slake1.0/imgs/xmlab${i}/source.jpg`),
];

/** Files of all three below `data`. */
export async function writePublishedFiles(data: string): Promise<void> {
  const write = (path: string, content: string | Uint8Array): void => {
    mkdirSync(dirname(join(data, path)), { recursive: true });
    writeFileSync(join(data, path), content);
  };
  for (const [path, text] of Object.entries({ ...memes(), ...crisis(), ...medical() })) write(path, text);
  const encoded = new Map<string, Buffer>();
  for (const [i, path] of PICTURES.entries()) {
    const kind = path.endsWith(".png") ? "png" : "jpeg";
    const key = `${kind} ${i % 4}`;
    const bytes = encoded.get(key) ?? (await picture(kind, i % 4));
    encoded.set(key, bytes);
    write(path, bytes);
  }
}

/** Wide and high ones, and one in gray as scans are. */
function picture(kind: "png" | "jpeg", which: number): Promise<Buffer> {
  const [width, height] = [
    [71, 48],
    [40, 66],
    [64, 64],
    [53, 31],
  ][which] as [number, number];
  const background = { r: 60 * which, g: 200 - 40 * which, b: 90 };
  const image = sharp({ create: { width, height, channels: 3, background } });
  return (which === 2 ? image.grayscale() : image).toFormat(kind).toBuffer();
}
