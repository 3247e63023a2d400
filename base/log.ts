/**
 * Log lines: one sentence and a few scalar fields, as JSON for machines or as one plain line for people.
 *
 * Fields are scalars by type, long text is cut, and fields whose names speak of secrets are masked: no
 * examples, tensors, keys or tokens reach a log.
 */
import { pino } from "pino";
import { FedloomError, messageOf } from "./errors.ts";

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log that adds these fields to each of its lines. */
  child(fields: LogFields): Log;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: "pretty" | "json";
  /** Takes one line at a time, without its end. */
  readonly write: (line: string) => void;
}

/** Longest text of a field: enough for a path or an error message, too little for an example. */
export const MAX_FIELD_CHARACTERS = 400;

const SECRET_NAME = /key|token|secret|password|credential/i;

export function createLog({ level, format, write }: LogOptions): Log {
  const lines = { write: (json: string) => write(format === "json" ? json.trimEnd() : prettyLine(json)) };
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    lines,
  );
  return wrap(logger);
}

/** Swallows everything; for tests and for parts that run without a log. */
export const silentLog: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLog,
};

/** An error as log fields: its code, where it has one, and its message. */
export function errorFields(error: unknown): LogFields {
  return { code: error instanceof FedloomError ? error.code : undefined, reason: messageOf(error) };
}

function wrap(logger: pino.Logger): Log {
  return {
    debug: (message, fields = {}) => logger.debug(safe(fields), message),
    info: (message, fields = {}) => logger.info(safe(fields), message),
    warn: (message, fields = {}) => logger.warn(safe(fields), message),
    error: (message, fields = {}) => logger.error(safe(fields), message),
    child: (fields) => wrap(logger.child(safe(fields))),
  };
}

/** Fields as they may be written down: secrets masked, long text cut. */
export function safe(fields: LogFields): Record<string, string | number | boolean> {
  const kept: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    if (typeof value !== "string") kept[name] = value;
    else if (SECRET_NAME.test(name)) kept[name] = "[masked]";
    else
      kept[name] = value.length > MAX_FIELD_CHARACTERS ? `${value.slice(0, MAX_FIELD_CHARACTERS)}...` : value;
  }
  return kept;
}

/** `22:41:07 warn  client "c3" failed in train (F2104)  round=3`; line breaks inside become blanks. */
function prettyLine(json: string): string {
  const { time, level, msg, code, ...fields }: Record<string, unknown> = JSON.parse(json);
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`);
  const head = `${String(time).slice(11, 19)} ${String(level).padEnd(5)} ${String(msg)}`;
  const line = [head + (code === undefined ? "" : ` (${String(code)})`), ...rest].join("  ");
  return line.replaceAll(/\s*[\r\n]+\s*/g, " ");
}
