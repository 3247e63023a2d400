/** What the published scripts know of the two classification datasets. */
import {
  member,
  type PublishedRow,
  readJsonLineRows,
  readTableRows,
  refuseRow,
  textMember,
} from "../../../data/formats/published-rows.ts";
import {
  CRISIS_CLASSES,
  crisisPrompt,
  hatefulMemesPrompt,
  type Template,
} from "../../../data/prompts/multiple-choice.ts";
import { type PyValue, pythonStr } from "../../../data/python/json.ts";
import { withoutUrls } from "../../../data/python/text.ts";

export interface PublishedTask {
  readonly name: "hateful-memes" | "crisis-mmd";
  /** Places of the training and test tables below the dataset's directory. */
  readonly train: string;
  readonly test: string;
  /** Folder below `data/` in the authors' layout. */
  readonly folder: string;
  readonly template: Template;
  /** Whether the guard against empty clients looks after every label, or the first one met only. */
  readonly guardsEveryLabel: boolean;
  read(file: string): PublishedRow[];
  id(row: PublishedRow): PyValue;
  image(row: PublishedRow): string;
  label(row: PublishedRow): PyValue;
  text(row: PublishedRow): string;
  /** The assistant's words, or undefined where the label is none of the classes. */
  answer(row: PublishedRow): string | undefined;
}

export const hatefulMemes: PublishedTask = {
  name: "hateful-memes",
  train: "train.jsonl",
  test: "test_seen.jsonl",
  folder: "hateful_memes",
  template: hatefulMemesPrompt,
  guardsEveryLabel: true,
  read: readJsonLineRows,
  id: (row) => member(row, "id"),
  image: (row) => textMember(row, "img"),
  label: (row) => member(row, "label"),
  text: (row) => textMember(row, "text"),
  answer(row) {
    // int(label) == 0, else hateful, whatever the number.
    const label = Math.trunc(Number(pythonStr(member(row, "label")) ?? Number.NaN));
    if (Number.isNaN(label)) refuseRow(row, "the label must be a number");
    return hatefulMemesPrompt.options[label === 0 ? 0 : 1];
  },
};

export const crisisMmd: PublishedTask = {
  name: "crisis-mmd",
  train: "crisismmd_datasplit_all/task_humanitarian_text_img_train.tsv",
  test: "crisismmd_datasplit_all/task_humanitarian_text_img_test.tsv",
  folder: "crisis-mmd",
  template: crisisPrompt,
  guardsEveryLabel: false,
  read: readTableRows,
  id: (row) => member(row, "image_id"),
  image: (row) => textMember(row, "image"),
  label: (row) => member(row, "label_image"),
  text: (row) => withoutUrls(textMember(row, "tweet_text")),
  answer(row) {
    const label = member(row, "label_image");
    return crisisPrompt.options.find((_, index) => CRISIS_CLASSES[index] === label);
  },
};

export const PUBLISHED_TASKS: readonly PublishedTask[] = [hatefulMemes, crisisMmd];

/** Equal for labels that a Python dict takes for one key: 1, 1.0 and true. */
export function labelKey(label: PyValue): string {
  if (typeof label === "string") return `text ${label}`;
  if (typeof label === "number" || typeof label === "bigint" || typeof label === "boolean") {
    return `number ${Number(label)}`;
  }
  return String(label);
}
