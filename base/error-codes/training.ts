import type { ErrorCode } from "../errors.ts";

/** F21xx to F29xx: models, the training engine and trainers. */
export const trainingCodes = {
  F2101: {
    status: "invalid_argument",
    meaning: "A model directory lacks a file that training needs.",
    remedy: "Copy the named file into the model directory, as the hub has it.",
  },
  F2110: {
    status: "invalid_argument",
    meaning: "A graph file is damaged or holds what the engine does not read.",
    remedy: "Fetch or export the graph again.",
  },
  F2111: {
    status: "unimplemented",
    meaning: "The engine cannot differentiate or place an operator of the graph.",
    remedy: "Export the model without the operator that the message names, or train fewer layers.",
  },
  F2113: {
    status: "invalid_argument",
    meaning: "LoRA targets or saved modules are not in the model's graphs.",
    remedy: "Choose among the modules that the message or `fedloom model inspect` lists.",
  },
  F2114: {
    status: "invalid_argument",
    meaning: "An input or parameter does not fit the graph.",
    remedy: "Give the input with the type and shape that the message names.",
  },
  F2115: {
    status: "failed_precondition",
    meaning: "The runtime does not have the execution provider of the wanted device.",
    remedy: "Run `fedloom doctor`, or choose another device.",
  },
  F2116: {
    status: "internal",
    meaning: "The runtime refused or failed to run a training graph.",
    remedy: "Report the message together with the output of `fedloom model inspect`.",
  },
  F2130: {
    status: "invalid_argument",
    meaning: "Saved optimizer state does not fit the adapter that is trained.",
    remedy: "Start the client's optimizer afresh, or hand out the adapter that the state was saved with.",
  },
  F2131: {
    status: "invalid_argument",
    meaning: "A picture or sound of an example cannot be read, or is longer than the model takes.",
    remedy:
      "Replace or remove the file that the message names; PNG, JPEG, WebP, GIF, TIFF, AVIF and, as sounds, WAV are read.",
  },
  F2132: {
    status: "invalid_argument",
    meaning: "An example is longer than the model or the task allows.",
    remedy: "Raise max_length as far as the model allows, or shorten or remove the example.",
  },
  F2133: {
    status: "unimplemented",
    meaning: "A model's image or sound processor, prompt form or architecture is none that training knows.",
    remedy: "Use one of the kinds that the message lists.",
  },
  F2134: {
    status: "invalid_argument",
    meaning: "A file of the model directory does not hold what it should.",
    remedy: "Copy the named file again from where the model came from.",
  },
  F2135: {
    status: "failed_precondition",
    meaning: "There is nothing to train on: the task has no examples, or no step to take.",
    remedy: "Give the client examples, or take it out of the run.",
  },
  F2136: {
    status: "cancelled",
    meaning: "Training or prediction was stopped before its end.",
    remedy: "Nothing to mend: start the task again if it was not meant to stop.",
  },
  F2137: {
    status: "failed_precondition",
    meaning: "The loss or a gradient became NaN or infinite.",
    remedy:
      "Lower learning_rate, set max_grad_norm, or look at the examples of the step that the message names.",
  },
  F2138: {
    status: "invalid_argument",
    meaning: "An adapter does not fit the base model or the task.",
    remedy: "Use the adapter with the base model it was trained on; the message names what differs.",
  },
  F2139: {
    status: "invalid_argument",
    meaning: "An example lacks something that training or prediction needs of it.",
    remedy: "Correct or remove the example that the message names.",
  },
  F2140: {
    status: "resource_exhausted",
    meaning: "Features of frozen encoders cannot be kept in the temporary folder.",
    remedy: "Make room on the disk of the temporary folder, or set TMPDIR to another one.",
  },
  F2141: {
    status: "failed_precondition",
    meaning: "A training command could not be run or failed.",
    remedy: "Run the command by hand on the task; the client's log has its last lines of output.",
  },
  F2142: {
    status: "failed_precondition",
    meaning: "A training command ended well and left files that are missing or wrong.",
    remedy: "Let the command write what docs/command-trainer.md lists.",
  },
} as const satisfies Record<string, ErrorCode>;
