import type { ErrorCode } from "../errors.ts";

/** F6xxx: scenarios, partitions and replays. */
export const scenarioCodes = {
  F6001: {
    status: "invalid_argument",
    meaning: "A partition with the wanted properties cannot exist.",
    remedy: "Choose values inside the bound that the message names.",
  },
} as const satisfies Record<string, ErrorCode>;
