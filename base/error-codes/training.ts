import type { ErrorCode } from "../errors.ts";

/** F21xx to F29xx: models, the training engine and trainers. */
export const trainingCodes = {
  F2101: {
    status: "invalid_argument",
    meaning: "A model directory lacks a file that training needs.",
    remedy: "Copy the named file into the model directory, as the hub has it.",
  },
} as const satisfies Record<string, ErrorCode>;
