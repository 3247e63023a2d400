import type { ErrorCode } from "../errors.ts";

/** F1xxx: configuration files and the command line. */
export const configurationCodes = {
  F1001: {
    status: "invalid_argument",
    meaning: "A configuration file or option does not have the form that is wanted.",
    remedy: "Correct the line and column that the message names.",
  },
} as const satisfies Record<string, ErrorCode>;
