/** The dataset formats, in the order in which they are tried: the most particular first. */
import { crisisMmdFormat } from "./crisis-mmd.ts";
import type { DatasetFormat } from "./format.ts";
import { hatefulMemesFormat } from "./hateful-memes.ts";
import { iconQaFormat } from "./icon-qa.ts";
import { imageFolder } from "./image-folder.ts";
import { llamaFactory } from "./llama-factory.ts";
import { flashcardsFormat, medicalFormat, slakeFormat, vqaRadFormat } from "./medical.ts";
import { messages } from "./messages.ts";
import { parquet } from "./parquet.ts";
import { scienceQaFormat } from "./science-qa.ts";
import { shareGpt } from "./sharegpt.ts";

export const DATASET_FORMATS: readonly DatasetFormat[] = [
  hatefulMemesFormat,
  crisisMmdFormat,
  medicalFormat,
  vqaRadFormat,
  flashcardsFormat,
  slakeFormat,
  scienceQaFormat,
  iconQaFormat,
  llamaFactory,
  messages,
  shareGpt,
  parquet,
  imageFolder,
];
