import type { ErrorCode } from "../errors.ts";

/** F5xxx: connections, transfers and client nodes. */
export const wireCodes = {
  F5001: {
    status: "unavailable",
    meaning: "The coordinator cannot be reached.",
    remedy: "Check the address and that the coordinator runs; the client goes on trying.",
  },
} as const satisfies Record<string, ErrorCode>;
