/** What of a failure leaves the client's machine. */
import { FedloomError, messageOf } from "../base/errors.ts";
import type { Task } from "../proto/gen/fedloom/v1/fleet_pb.ts";

/** An error without a code becomes F5101. */
export function coded(error: unknown): FedloomError {
  return error instanceof FedloomError
    ? error
    : new FedloomError("F5101", messageOf(error), {}, { cause: error });
}

/** Messages of our own errors hold no data; of any other error only the class is told. */
export function shareable(error: FedloomError): string {
  if (error.code !== "F5101") return error.message;
  const kind = error.cause instanceof Error ? error.cause.name : "Error";
  return `The client met an error of class ${kind}; its own log has the text`;
}

export function tooLate({ taskId, deadlineMs }: Task): FedloomError {
  return new FedloomError("F5109", `Cannot finish task ${taskId}: its round ended after ${deadlineMs} ms`, {
    deadlineMs: Number(deadlineMs),
  });
}
