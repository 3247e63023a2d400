/**
 * Errors over gRPC: the code of a FedloomError travels in the metadata key `fedloom-code`, its message as the
 * status message, and its status as the gRPC status, so that peers of other languages see a sensible one too.
 */
import { status as grpc, Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { type Code, FedloomError, isCode, messageOf, type Status } from "../base/errors.ts";

const CODE_KEY = "fedloom-code";

const NUMBER_OF: Readonly<Record<Status, grpc>> = {
  cancelled: grpc.CANCELLED,
  unknown: grpc.UNKNOWN,
  invalid_argument: grpc.INVALID_ARGUMENT,
  deadline_exceeded: grpc.DEADLINE_EXCEEDED,
  not_found: grpc.NOT_FOUND,
  already_exists: grpc.ALREADY_EXISTS,
  permission_denied: grpc.PERMISSION_DENIED,
  resource_exhausted: grpc.RESOURCE_EXHAUSTED,
  failed_precondition: grpc.FAILED_PRECONDITION,
  aborted: grpc.ABORTED,
  out_of_range: grpc.OUT_OF_RANGE,
  unimplemented: grpc.UNIMPLEMENTED,
  internal: grpc.INTERNAL,
  unavailable: grpc.UNAVAILABLE,
  data_loss: grpc.DATA_LOSS,
  unauthenticated: grpc.UNAUTHENTICATED,
};

/** The gRPC status that tells a peer of `error`. Anything but a FedloomError is our own bug: the peer learns no more. */
export function toStatus(error: unknown): StatusObject {
  const metadata = new Metadata();
  if (!(error instanceof FedloomError)) {
    metadata.set(CODE_KEY, "F5003");
    return { code: grpc.INTERNAL, details: "Cannot answer: the coordinator met an internal error", metadata };
  }
  metadata.set(CODE_KEY, error.code);
  return { code: NUMBER_OF[error.status], details: error.message, metadata };
}

function codeOfStatus(number: grpc): Code {
  if (number === grpc.CANCELLED) return "F5006";
  if (number === grpc.RESOURCE_EXHAUSTED) return "F5007";
  if (number === grpc.UNAVAILABLE || number === grpc.DEADLINE_EXCEEDED) return "F5001";
  return "F5003";
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error && "metadata" in error;
}

/** The error that the other side threw, or, where the connection itself failed, what became of it. */
export function fromStatus(error: unknown, address: string): FedloomError {
  if (error instanceof FedloomError) return error;
  if (!isServiceError(error)) {
    return new FedloomError(
      "F5003",
      `Cannot call "${address}": ${messageOf(error)}`,
      { address },
      { cause: error },
    );
  }
  const code = String(error.metadata.get(CODE_KEY)[0] ?? "");
  if (isCode(code)) return new FedloomError(code, error.details, { address }, { cause: error });
  return new FedloomError(
    codeOfStatus(error.code),
    `Cannot call "${address}": ${error.details}`,
    { address, grpc: error.code },
    { cause: error },
  );
}
