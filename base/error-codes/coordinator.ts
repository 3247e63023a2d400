import type { ErrorCode } from "../errors.ts";

/** F4xxx: the coordinator, its journal and its blobs. */
export const coordinatorCodes = {
  F4001: {
    status: "data_loss",
    meaning: "The journal contradicts itself.",
    remedy: "Restore the state directory from a copy; nothing was aggregated from it.",
  },
} as const satisfies Record<string, ErrorCode>;
