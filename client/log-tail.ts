/** The last lines of a log, for a failure report of a site whose policy lets them out. */
import { type Log, type LogFields, safe } from "../base/log.ts";

export interface TailedLog {
  readonly log: Log;
  /** Oldest first, one line each, errors and warnings and what went before them. */
  lines(): readonly string[];
}

/** @param keep how many lines; 0 keeps none */
export function tailLog(inner: Log, keep: number): TailedLog {
  const kept: string[] = [];
  const note = (level: string, message: string, fields: LogFields = {}): void => {
    const values = Object.entries(safe(fields)).map(([name, value]) => `${name}=${value}`);
    kept.push([`${level}: ${message}`, ...values].join(" ").replaceAll(/\s*[\r\n]+\s*/g, " "));
    if (kept.length > keep) kept.shift();
  };
  const wrap = (log: Log): Log => ({
    debug: (message, fields) => log.debug(message, fields),
    info(message, fields) {
      note("info", message, fields);
      log.info(message, fields);
    },
    warn(message, fields) {
      note("warn", message, fields);
      log.warn(message, fields);
    },
    error(message, fields) {
      note("error", message, fields);
      log.error(message, fields);
    },
    child: (fields) => wrap(log.child(fields)),
  });
  return { log: keep === 0 ? inner : wrap(inner), lines: () => kept };
}
