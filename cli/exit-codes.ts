/** What a command's exit status says. Scripts depend on these numbers: one meaning each, never changed. */
import { type Code, FedloomError } from "../base/errors.ts";

export const EXIT_CODES = {
  0: "done",
  1: "an unexpected failure: a mistake in fedloom or in the machine below it",
  2: "the command line or a configuration is wrong (F1...)",
  3: "data, a model or training failed (F2...)",
  4: "an adapter or an aggregation failed (F3...)",
  5: "the coordinator or its store refused or failed (F4...)",
  6: "the connection or the client failed (F5...)",
  7: "a scenario failed (F6...)",
  8: "the command ran, but its outcome is a no: a run that did not finish, a check that did not pass",
  130: "interrupted (Ctrl-C)",
  143: "terminated",
} as const satisfies Record<number, string>;

export type ExitCode = keyof typeof EXIT_CODES;

/** Exit codes 2 to 7 follow the families F1 to F6 of the error table. */
export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof FedloomError ? exitCodeOfFamily(error.code) : 1;
}

function exitCodeOfFamily(code: Code): ExitCode {
  switch (code[1]) {
    case "1":
      return 2;
    case "2":
      return 3;
    case "3":
      return 4;
    case "4":
      return 5;
    case "5":
      return 6;
    case "6":
      return 7;
    default:
      return 1;
  }
}

/** The table at the end of every --help. */
export function exitCodesHelp(): string {
  const rows = Object.entries(EXIT_CODES).map(([code, meaning]) => `  ${code.padStart(3)}  ${meaning}`);
  return ["Exit codes:", ...rows].join("\n");
}
