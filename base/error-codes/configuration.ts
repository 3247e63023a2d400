import type { ErrorCode } from "../errors.ts";

/** F1xxx: configuration files and the command line. */
export const configurationCodes = {
  F1001: {
    status: "invalid_argument",
    meaning: "A configuration file or option does not have the form that is wanted.",
    remedy: "Correct the line and column that the message names.",
  },
  F1002: {
    status: "not_found",
    meaning: "A file or directory named in a configuration or on the command line cannot be read.",
    remedy: "Correct the path; relative paths in a file are relative to that file.",
  },
  F1003: {
    status: "invalid_argument",
    meaning: "The command line holds an unknown command, an unknown option or a value of the wrong form.",
    remedy: "See the command's --help.",
  },
  F1004: {
    status: "failed_precondition",
    meaning: "A directory to write into already holds something else.",
    remedy: "Name another directory, or remove the one that the message names.",
  },
  F1005: {
    status: "failed_precondition",
    meaning: "A program or package that the command needs is missing or does not work on this machine.",
    remedy: "Run the command that the message names; fedloom doctor shows them all.",
  },
} as const satisfies Record<string, ErrorCode>;
