import type { ErrorCode } from "../errors.ts";

/** F31xx: strategies and the updates they aggregate. */
export const aggregationCodes = {
  F3101: {
    status: "invalid_argument",
    meaning: "A client sent an update that cannot be aggregated.",
    remedy: "Look at the log of the client that the message names.",
  },
} as const satisfies Record<string, ErrorCode>;
