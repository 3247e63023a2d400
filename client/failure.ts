/** What of a failure leaves the client's machine. */
import { FedloomError, messageOf } from "../base/errors.ts";
import type { Task } from "../proto/gen/fedloom/v1/fleet_pb.ts";

/** An error without a code becomes F5101. */
export function coded(error: unknown): FedloomError {
  return error instanceof FedloomError
    ? error
    : new FedloomError("F5101", messageOf(error), {}, { cause: error });
}

/** What the coordinator keeps of a failure's words (server/limits.ts): beyond it the newest lines would be cut off. */
const MAX_CHARACTERS = 2_000;

/**
 * Messages of our own errors hold no data; of any other error only the class is told. Below it the last lines of the
 * client's log, where its policy lets them out; the newest ones where not all of them fit.
 */
export function shareable(error: FedloomError, logLines: readonly string[] = []): string {
  const kind = error.cause instanceof Error ? error.cause.name : "Error";
  const told =
    error.code === "F5101"
      ? `The client met an error of class ${kind}; its own log has the text`
      : error.message;
  let tail = "";
  for (const line of logLines.toReversed()) {
    const longer = `\n${line}${tail}`;
    if (told.length + longer.length > MAX_CHARACTERS) break;
    tail = longer;
  }
  return told + tail;
}

export function tooLate({ taskId, deadlineMs }: Task): FedloomError {
  return new FedloomError("F5109", `Cannot finish task ${taskId}: its round ended after ${deadlineMs} ms`, {
    deadlineMs: Number(deadlineMs),
  });
}
