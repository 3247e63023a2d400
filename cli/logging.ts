/** The log of a long-running command: lines on stderr, for people in a terminal, as JSON elsewhere. */
import { appendFileSync } from "node:fs";
import { InvalidArgumentError, Option } from "commander";
import { createLog, type Log } from "../base/log.ts";

export type LogFormat = "auto" | "pretty" | "json";

const FORMATS: readonly LogFormat[] = ["auto", "pretty", "json"];

export interface LogOptions {
  readonly log: LogFormat;
  readonly verbose?: boolean;
}

export function logOption(): Option {
  return new Option("--log <format>", "form of log lines: auto is pretty in a terminal, json elsewhere")
    .choices(FORMATS)
    .default("auto")
    .argParser((text) => {
      const format = FORMATS.find((known) => known === text);
      if (format === undefined) throw new InvalidArgumentError(`Allowed choices are ${FORMATS.join(", ")}.`);
      return format;
    });
}

/** @param print where pretty lines go; JSON lines go to stderr */
export function openLog({ log, verbose }: LogOptions, print = toStderr): Log {
  const format = log === "auto" ? (process.stderr.isTTY ? "pretty" : "json") : log;
  return createLog({
    level: verbose ? "debug" : "info",
    format,
    write: format === "pretty" ? print : toStderr,
  });
}

function toStderr(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** A log that goes to a file alone, where the screen is taken by something else. */
export function openLogFile(path: string): Log {
  return createLog({ level: "info", format: "pretty", write: (line) => appendFileSync(path, `${line}\n`) });
}
