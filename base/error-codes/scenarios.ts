import type { ErrorCode } from "../errors.ts";

/** F6xxx: scenarios, partitions and replays. */
export const scenarioCodes = {
  F6001: {
    status: "invalid_argument",
    meaning: "A partition with the wanted properties cannot exist.",
    remedy: "Choose values inside the bound that the message names.",
  },
  F6002: {
    status: "out_of_range",
    meaning: "The benchmark publishes no such dataset, scenario or level.",
    remedy: "Choose one of the values that the message lists, or use `--mode clean`.",
  },
  F6003: {
    status: "failed_precondition",
    meaning: "The published script would never end or would stop with an error on this input.",
    remedy: "Use `--mode clean`, fewer clients, or more examples per label.",
  },
  F6004: {
    status: "invalid_argument",
    meaning: "A scenario file does not have the form that is wanted.",
    remedy: "Correct the key that the message names.",
  },
  F6010: {
    status: "failed_precondition",
    meaning: "A client of a fleet would have no examples.",
    remedy: "Use fewer clients, more data, or another partition.",
  },
  F6011: {
    status: "invalid_argument",
    meaning: "A run without a coordinator needs clients in this process.",
    remedy: "Add a section `fleet` to the run file, or name a coordinator with --coordinator.",
  },
  F6012: {
    status: "failed_precondition",
    meaning: "In some round of a fleet fewer clients would be there than the round needs.",
    remedy: "Lower `fleet.availability.away` or `cohort.quorum`, add clients, or take another seed.",
  },
  F6013: {
    status: "deadline_exceeded",
    meaning: "A client of a fleet was too slow for its round, as `fleet.stragglers` says.",
    remedy: "Nothing, where that was wanted; else raise `fleet.stragglers.patience`.",
  },
  F6014: {
    status: "failed_precondition",
    meaning: "A device of a fleet has a higher rank than the adapter that it is handed.",
    remedy: "Give `fleet.devices` ranks up to the rank of the adapter that the run begins from.",
  },
  F6020: {
    status: "not_found",
    meaning: "No cell of the benchmark's table has the wanted name.",
    remedy: "Take a name, or a pattern, of the parts that the message lists.",
  },
  F6021: {
    status: "not_found",
    meaning: "The benchmark has no such method.",
    remedy: "Take one of the methods that the message lists.",
  },
  F6022: {
    status: "not_found",
    meaning: "The benchmark has no such profile.",
    remedy: "Take one of the profiles that the message lists.",
  },
  F6023: {
    status: "failed_precondition",
    meaning: "The number that a cell of the benchmark reports cannot be computed.",
    remedy: "Look whether the test set holds all classes and every answer was scored.",
  },
  F6024: {
    status: "resource_exhausted",
    meaning: "A replay needs more memory or disk than there is.",
    remedy: "Free the bytes that the message names, take a smaller profile or model, or another --out.",
  },
  F6025: {
    status: "aborted",
    meaning: "The process that ran a cell of the benchmark ended before the cell did.",
    remedy: "Take fewer --jobs where memory ran out, then run the same command with --retry.",
  },
  F6026: {
    status: "failed_precondition",
    meaning: "Another replay works in the output folder.",
    remedy: "Wait until the process that the message names is done, stop it, or take another --out.",
  },
} as const satisfies Record<string, ErrorCode>;
