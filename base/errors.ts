/**
 * Every refusal and failure that a user, an operator or a peer can meet is a FedloomError with a code from
 * one table. A code crosses the wire unchanged and is never reused; its gRPC status tells a caller whether
 * trying again can help. Programming mistakes throw TypeError or RangeError instead.
 *
 * How a message reads: "Cannot <do what> <to what>: <what is wanted>, got <what is there>", no final period,
 * strings in double quotes, numbers with units, the remedy where one is known. No data, keys or tokens.
 */
import { adapterCodes } from "./error-codes/adapters.ts";
import { aggregationCodes } from "./error-codes/aggregation.ts";
import { configurationCodes } from "./error-codes/configuration.ts";
import { coordinatorCodes } from "./error-codes/coordinator.ts";
import { dataCodes } from "./error-codes/data.ts";
import { scenarioCodes } from "./error-codes/scenarios.ts";
import { trainingCodes } from "./error-codes/training.ts";
import { wireCodes } from "./error-codes/wire.ts";

/** gRPC status names in lower case, as https://grpc.io/docs/guides/status-codes/ lists them. */
export type Status =
  | "cancelled"
  | "unknown"
  | "invalid_argument"
  | "deadline_exceeded"
  | "not_found"
  | "already_exists"
  | "permission_denied"
  | "resource_exhausted"
  | "failed_precondition"
  | "aborted"
  | "out_of_range"
  | "unimplemented"
  | "internal"
  | "unavailable"
  | "data_loss"
  | "unauthenticated";

export interface ErrorCode {
  readonly status: Status;
  /** What the code means, one sentence. */
  readonly meaning: string;
  /** What the reader can do about it, one sentence. */
  readonly remedy: string;
}

/** F1 configuration and command line, F2 data and training, F3 adapters and aggregation, F4 coordinator and store, F5 wire and client, F6 scenarios. */
export const ERROR_CODES = {
  ...configurationCodes,
  ...dataCodes,
  ...trainingCodes,
  ...adapterCodes,
  ...aggregationCodes,
  ...coordinatorCodes,
  ...wireCodes,
  ...scenarioCodes,
} as const satisfies Record<string, ErrorCode>;

export type Code = keyof typeof ERROR_CODES;

export class FedloomError extends Error {
  override readonly name = "FedloomError";
  readonly code: Code;
  /** The values that decided it, for `--json` and logs. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: Code,
    message: string,
    details: Record<string, unknown> = {},
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.code = code;
    this.details = details;
  }

  get status(): Status {
    return ERROR_CODES[this.code].status;
  }
}

/** Whether a string that came over the wire or from a journal is one of our codes. */
export function isCode(text: string): text is Code {
  return Object.hasOwn(ERROR_CODES, text);
}

/** The message of anything thrown, for a line of log or a FedloomError's own message. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The first line of a message: what happened. Below it may stand shared log lines, which `fedloom log` shows. */
export function headline(message: string): string {
  return message.split("\n", 1)[0]!;
}
