import type { ErrorCode } from "../errors.ts";

/** F4xxx: the coordinator, its journal and its blobs. */
export const coordinatorCodes = {
  F4001: {
    status: "data_loss",
    meaning: "The journal contradicts itself.",
    remedy: "Restore the state directory from a copy; nothing was aggregated from it.",
  },
  F4002: {
    status: "failed_precondition",
    meaning: "Another coordinator works in the state directory.",
    remedy: "Stop the other coordinator, or give this one a directory of its own.",
  },
  F4003: {
    status: "failed_precondition",
    meaning: "The state directory lies on a network file system, where locks and syncs cannot be trusted.",
    remedy: "Put the state directory on a local disk.",
  },
  F4004: {
    status: "internal",
    meaning: "The coordinator cannot write its state.",
    remedy:
      "Free disk space or mend the disk, then start the coordinator again; what was acknowledged is there.",
  },
  F4005: {
    status: "data_loss",
    meaning: "A blob on disk is damaged or missing.",
    remedy: "Check the disk and restore the blob from a copy; nothing was aggregated from it.",
  },
  F4006: {
    status: "not_found",
    meaning: "There is no such run.",
    remedy: "Look at the list of runs (fedloom ls).",
  },
  F4007: {
    status: "failed_precondition",
    meaning: "The run is not in a state in which this can be done.",
    remedy: "Look at the state of the run (fedloom ls).",
  },
  F4008: {
    status: "failed_precondition",
    meaning: "A round ended without its quorum of updates.",
    remedy: "Mend what the message names at the clients, then go on with fedloom resume.",
  },
  F4009: {
    status: "deadline_exceeded",
    meaning: "A client stood still for longer than the idle timeout.",
    remedy:
      "Look at the client that the message names; raise cohort.idle where its steps really take so long.",
  },
  F4010: {
    status: "deadline_exceeded",
    meaning: "A client did not answer within the round's deadline.",
    remedy: "Raise cohort.deadline, or give that client less to do.",
  },
  F4011: {
    status: "failed_precondition",
    meaning: "Something arrived for a round or a task that is not open.",
    remedy: "Nothing: the client takes up the current task by itself.",
  },
  F4012: {
    status: "invalid_argument",
    meaning: "An update was trained from another adapter than the round handed out.",
    remedy: "Look at the client that the message names: it mixed up rounds or files.",
  },
  F4013: {
    status: "already_exists",
    meaning: "A client sent a second, different result for one task.",
    remedy: "Check that no two sites share a name.",
  },
  F4014: {
    status: "failed_precondition",
    meaning: "A coordinator off loopback would talk without encryption.",
    remedy: "Set up TLS, or listen on 127.0.0.1.",
  },
  F4015: {
    status: "failed_precondition",
    meaning: "The state directory was written by a newer fedloom.",
    remedy: "Upgrade fedloom.",
  },
  F4016: {
    status: "failed_precondition",
    meaning: "Too few clients were there for a round.",
    remedy: "Start clients that hold the run's base model, then go on with fedloom resume.",
  },
  F4017: {
    status: "internal",
    meaning: "The coordinator's own work on a round failed.",
    remedy: "Mend what the message names, then go on with fedloom resume.",
  },
  F4018: {
    status: "invalid_argument",
    meaning: "A request to the coordinator's HTTP interface does not have the form that is wanted.",
    remedy: "Correct what the message names.",
  },
  F4019: {
    status: "already_exists",
    meaning: "A run was submitted twice under one key with different configurations.",
    remedy: "Use a new key for a new run.",
  },
  F4020: {
    status: "permission_denied",
    meaning: "A request names a host that is not this coordinator's.",
    remedy: "Use the address that the coordinator printed when it started.",
  },
  F4021: {
    status: "not_found",
    meaning: "The adapter of that round is not kept, or not there yet.",
    remedy:
      "Ask for one of the rounds that the message names; keep.last, keep.every and keep.best say which rounds are kept.",
  },
  F4022: {
    status: "failed_precondition",
    meaning: "The coordinator's certificate authority is missing or damaged.",
    remedy: "Make one with fedloom ca init, or restore DIR/ca from a copy.",
  },
  F4023: {
    status: "not_found",
    meaning: "There is no such site.",
    remedy: "Look at the list of sites (fedloom sites).",
  },
  F4024: {
    status: "permission_denied",
    meaning: "A request to the coordinator's HTTP interface shows no token that allows it.",
    remedy: "Send an operator's token in the Authorization header.",
  },
  F4025: {
    status: "not_found",
    meaning: "There is no token of this name that could be withdrawn.",
    remedy: "See in fedloom audit whether it was used; keep a site that has joined out with fedloom revoke.",
  },
  F4026: {
    status: "failed_precondition",
    meaning:
      "The task of a transfer ended before the transfer did: the client stood still, or its round is over.",
    remedy:
      "Nothing: the client goes on with its next task. See fedloom log RUN --client why the task ended.",
  },
} as const satisfies Record<string, ErrorCode>;
