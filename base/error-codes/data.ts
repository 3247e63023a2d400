import type { ErrorCode } from "../errors.ts";

/** F20xx: examples and datasets on disk. */
export const dataCodes = {
  F2001: {
    status: "invalid_argument",
    meaning: "An example or dataset file cannot be read as what it claims to be.",
    remedy: "Correct or remove the file or row that the message names.",
  },
} as const satisfies Record<string, ErrorCode>;
