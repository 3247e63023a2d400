import type { ErrorCode } from "../errors.ts";

/** F31xx: strategies and the updates they aggregate. */
export const aggregationCodes = {
  F3101: {
    status: "invalid_argument",
    meaning: "A client sent an update whose tensors do not fit the global adapter.",
    remedy: "Look at the log of the client that the message names.",
  },
  F3102: {
    status: "invalid_argument",
    meaning: "A client sent an update with values that are not numbers or infinite.",
    remedy: "Lower the learning rate or switch on max_grad_norm; the client's loss shows where it diverged.",
  },
  F3103: {
    status: "failed_precondition",
    meaning: "A round has fewer usable updates than its strategy needs.",
    remedy: "Raise the quorum, or choose a strategy or setting that needs fewer updates.",
  },
  F3104: {
    status: "invalid_argument",
    meaning: "A client counted examples, steps or tokens in a way that cannot be true.",
    remedy: "Look at the trainer of the client that the message names.",
  },
  F3105: {
    status: "already_exists",
    meaning: "A client sent two different updates for one round.",
    remedy: "Run one process for each client id.",
  },
  F3106: {
    status: "failed_precondition",
    meaning: "A client trained another base model or adapter configuration than the run's.",
    remedy: "Give the client the model directory that the run names.",
  },
  F3107: {
    status: "invalid_argument",
    meaning: "An update lacks what the strategy asked its clients for.",
    remedy: "Use a trainer that can compute it, or another strategy.",
  },
  F3108: {
    status: "invalid_argument",
    meaning: "A client trained nothing: no examples or no steps.",
    remedy: "Give the client data, or leave it out of the run.",
  },
  F3110: {
    status: "not_found",
    meaning: "There is no strategy, wrapper or preset of that name.",
    remedy: "Choose one of the names in the message; docs/strategies.md tells what each does.",
  },
  F3111: {
    status: "invalid_argument",
    meaning: "An option of a strategy or wrapper is unknown or out of its range.",
    remedy: "Correct the option that the message names; docs/strategies.md lists them with their defaults.",
  },
  F3112: {
    status: "failed_precondition",
    meaning: "A strategy cannot do what the run asks of it.",
    remedy: "Change the setting or the strategy that the message names.",
  },
  F3113: {
    status: "data_loss",
    meaning: "A strategy's saved state is damaged or belongs to another strategy.",
    remedy: "Restore the state from a copy, or start again without it.",
  },
  F3114: {
    status: "failed_precondition",
    meaning: "Aggregation gave values that are not finite; the old global adapter stays.",
    remedy: "Lower the server learning rate, or clip the updates.",
  },
} as const satisfies Record<string, ErrorCode>;
