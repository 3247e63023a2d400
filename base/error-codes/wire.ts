import type { ErrorCode } from "../errors.ts";

/** F5xxx: connections, transfers and client nodes. */
export const wireCodes = {
  F5001: {
    status: "unavailable",
    meaning: "The coordinator cannot be reached.",
    remedy: "Check the address and that the coordinator runs; the client goes on trying.",
  },
  F5002: {
    status: "failed_precondition",
    meaning: "The two sides speak different protocol versions.",
    remedy: "Upgrade the side that the message names.",
  },
  F5003: {
    status: "internal",
    meaning: "The other side met an error of its own, or broke the protocol.",
    remedy: "Look at the log of the other side; if it names no cause, report it as a bug.",
  },
  F5004: {
    status: "aborted",
    meaning: "Another process connected under the same client id; the newer one goes on.",
    remedy: "If both are wanted, give each a name and a state directory of its own.",
  },
  F5005: {
    status: "invalid_argument",
    meaning: "A peer sent a message that the protocol does not allow.",
    remedy: "Upgrade the peer that the message names, or keep it out.",
  },
  F5006: {
    status: "cancelled",
    meaning: "A call was cancelled.",
    remedy: "Nothing needs mending where either side was stopped on purpose.",
  },
  F5007: {
    status: "out_of_range",
    meaning: "A peer sent more than the coordinator takes.",
    remedy: "Send less, or raise the limit that the message names.",
  },
  F5008: {
    status: "permission_denied",
    meaning: "A client reached for a blob or a task that is not its own.",
    remedy: "Check that no two sites share a name; otherwise look at what that client runs.",
  },
  F5009: {
    status: "failed_precondition",
    meaning: "An address cannot be listened on.",
    remedy: "Choose another port, or stop the program that holds it.",
  },
  F5011: {
    status: "unavailable",
    meaning: "A result names blobs that the coordinator does not hold.",
    remedy: "The client uploads them again by itself.",
  },
  F5012: {
    status: "permission_denied",
    meaning: "A join token does not count: it is damaged, spent, expired, or another site's.",
    remedy: "Ask the operator for a new token (fedloom enroll).",
  },
  F5013: {
    status: "failed_precondition",
    meaning: "The coordinator that answers is not the one the join token was made by.",
    remedy: "Check the address; if it is right, somebody else answers there.",
  },
  F5014: {
    status: "unauthenticated",
    meaning: "A client shows no certificate that counts.",
    remedy: "Enroll the client, again where it was revoked or its certificate has expired.",
  },
  F5101: {
    status: "internal",
    meaning: "A client node met an error that it has no code for.",
    remedy:
      "Look at the log on the client's own machine: it has the whole error; other machines are told its class only.",
  },
  F5102: {
    status: "unimplemented",
    meaning: "The coordinator asked for something that this client does not know.",
    remedy: "Upgrade the client.",
  },
  F5103: {
    status: "failed_precondition",
    meaning: "A client has no examples to train on.",
    remedy: "Point --data at a directory that holds examples.",
  },
  F5104: {
    status: "failed_precondition",
    meaning: "Client and run have different base models.",
    remedy: "Start the client with the model directory that the run names.",
  },
  F5105: {
    status: "failed_precondition",
    meaning: "The state directory is in use by another process.",
    remedy: "Stop the other process, or give each client a state directory of its own.",
  },
  F5106: {
    status: "data_loss",
    meaning: "Bytes that arrived or were kept do not have the hash they should have.",
    remedy: "Nothing was used; the client fetches them again. If it comes back, check disk and memory.",
  },
  F5107: {
    status: "failed_precondition",
    meaning: "A client cannot write to its state directory.",
    remedy: "Free space on the disk, or mend the permissions of the directory that the message names.",
  },
  F5108: {
    status: "deadline_exceeded",
    meaning: "A transfer stood still for too long.",
    remedy: "Check the network; the client goes on from where it stopped.",
  },
  F5109: {
    status: "deadline_exceeded",
    meaning: "A task was not done when its round ended.",
    remedy: "Give the round a longer deadline, or the client less to do.",
  },
  F5110: {
    status: "invalid_argument",
    meaning: "A client's name, or something else it says of itself, does not have the form that is wanted.",
    remedy: "Use 1 to 64 letters, digits, dots, underscores and hyphens, the first a letter or digit.",
  },
  F5111: {
    status: "failed_precondition",
    meaning: "A state directory belongs to another client or another version.",
    remedy: "Give this client a state directory of its own.",
  },
  F5010: {
    status: "data_loss",
    meaning: "Bytes that a client sent are not the ones it announced.",
    remedy: "The client sends them again by itself; if it comes back, check its disk and memory.",
  },
} as const satisfies Record<string, ErrorCode>;
