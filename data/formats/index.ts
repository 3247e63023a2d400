/** The dataset formats, in the order in which they are tried: the most particular first. */
import type { DatasetFormat } from "./format.ts";
import { messages } from "./messages.ts";

export const DATASET_FORMATS: readonly DatasetFormat[] = [messages];
