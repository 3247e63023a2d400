import type { ErrorCode } from "../errors.ts";

/** F20xx: examples, dataset files, shards and scores. */
export const dataCodes = {
  F2001: {
    status: "invalid_argument",
    meaning: "An example or dataset file cannot be read as what it claims to be.",
    remedy: "Correct or remove the file or row that the message names.",
  },
  F2002: {
    status: "not_found",
    meaning: "A dataset, or a file that its format needs, is not there.",
    remedy: "Look at the files the message expects; `fedloom data inspect DIR` shows what was found.",
  },
  F2003: {
    status: "not_found",
    meaning: "An example names an image or audio file that is not there.",
    remedy: "Copy the media next to the dataset file; paths are relative to that file's folder.",
  },
  F2004: {
    status: "invalid_argument",
    meaning: "Two examples of a dataset have the same id.",
    remedy: "Give each example an id of its own, or leave the id out to have rows numbered.",
  },
  F2005: {
    status: "invalid_argument",
    meaning: "A dataset has no such split, format, metric or template.",
    remedy: "Choose one of the names that the message lists.",
  },
  F2006: {
    status: "invalid_argument",
    meaning: "A partition or shard file cannot be used, or does not fit the dataset.",
    remedy: "Write it again with `fedloom partition` for this dataset.",
  },
  F2007: {
    status: "invalid_argument",
    meaning: "A score cannot be computed from these predictions.",
    remedy: "Choose a metric that fits the examples, as the message says.",
  },
  F2008: {
    status: "unavailable",
    meaning: "The judge's endpoint did not give a usable answer.",
    remedy: "Check the endpoint and model name; or leave the judge off.",
  },
} as const satisfies Record<string, ErrorCode>;
