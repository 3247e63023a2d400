/**
 * Where a command's words go: results to stdout, everything else to stderr, so that a pipe gets results only.
 * With `--json` a result is one line of JSON that names its schema and version.
 */
import { FedloomError, messageOf } from "../base/errors.ts";

export interface Output {
  readonly json: boolean;
  /** A line for people; nothing with `--json`. */
  line(text?: string): void;
  /** A remark beside the result; nothing with `--json`. */
  note(text: string): void;
  /**
   * The command's result: `lines` for people, `data` for machines.
   *
   * @param schema name and version, such as "ls/1"; the version changes when a field changes its meaning or goes
   */
  result(schema: string, data: object, lines?: readonly string[]): void;
}

export function createOutput({ json }: { json: boolean }): Output {
  return {
    json,
    line: (text = "") => void (json || process.stdout.write(`${text}\n`)),
    note: (text) => void (json || process.stderr.write(`${text}\n`)),
    result(schema, data, lines = []) {
      if (json) process.stdout.write(`${JSON.stringify({ schema: `fedloom.${schema}`, ...data })}\n`);
      else for (const text of lines) process.stdout.write(`${text}\n`);
    },
  };
}

/** Writes an error to stderr: one sentence and its code; where it came from only if asked. */
export function reportError(error: unknown, { json, verbose }: { json: boolean; verbose: boolean }): void {
  const known = error instanceof FedloomError;
  if (json) {
    const code = known ? error.code : undefined;
    const details = known ? error.details : undefined;
    process.stderr.write(
      `${JSON.stringify({ schema: "fedloom.error/1", code, message: messageOf(error), details })}\n`,
    );
  } else if (known) {
    const [first, ...rest] = error.message.split("\n");
    // Several problems of one file: each on its own line, the code at the end of the last.
    process.stderr.write(`${[first, ...rest].join("\n")} (${error.code})\n`);
  } else {
    process.stderr.write(`Cannot go on: ${messageOf(error)}; this is unexpected, --verbose shows where\n`);
  }
  if (verbose)
    for (let at: unknown = error; at instanceof Error; at = at.cause) process.stderr.write(`${at.stack}\n`);
}
