import type { ErrorCode } from "../errors.ts";

/** F30xx: tensors, safetensors files and PEFT adapters. */
export const adapterCodes = {
  F3001: {
    status: "data_loss",
    meaning: "A safetensors file is damaged or hostile.",
    remedy: "Fetch or write the file again.",
  },
  F3002: {
    status: "resource_exhausted",
    meaning: "A safetensors file is beyond a limit that keeps hostile files from exhausting memory.",
    remedy: "Split the file, or shorten its names; the message tells the limit.",
  },
  F3003: {
    status: "unimplemented",
    meaning: "A safetensors file holds an element type that fedloom does not read.",
    remedy: "Convert the tensor to one of the types the message lists.",
  },
  F3004: {
    status: "not_found",
    meaning: "A file of an adapter cannot be opened.",
    remedy: "Check the path and who may read it.",
  },
  F3005: {
    status: "unavailable",
    meaning: "A file of an adapter cannot be written; what was there before is unchanged.",
    remedy: "Make room on the disk or correct the permissions, then try again.",
  },
  F3006: {
    status: "invalid_argument",
    meaning: "An adapter_config.json, or the tensors beside it, do not make a LoRA adapter.",
    remedy: "Save the adapter again with PEFT's save_pretrained.",
  },
  F3007: {
    status: "unimplemented",
    meaning: "An adapter uses a feature of PEFT that fedloom does not support.",
    remedy: "Train the adapter without the feature that the message names.",
  },
  F3008: {
    status: "failed_precondition",
    meaning: "An adapter belongs to another base model, rank, scale or set of targets.",
    remedy: "Use the adapter with the base and configuration it was made for.",
  },
  F3009: {
    status: "data_loss",
    meaning: "An encoded update is damaged or hostile.",
    remedy: "Look at the log of the client that sent it; the round goes on without it.",
  },
  F3010: {
    status: "unimplemented",
    meaning: "A codec is not known here.",
    remedy: "Name one of the codecs that the message lists, or upgrade the older side.",
  },
  F3011: {
    status: "failed_precondition",
    meaning: "An encoded update counts from another adapter than the one that was handed out.",
    remedy: "Train from the adapter of the current round.",
  },
  F3012: {
    status: "out_of_range",
    meaning: "A tensor cannot be encoded: it is not finite, or it changed more than the codec can say.",
    remedy: "Lower the learning rate, or choose codec bf16 or fp32.",
  },
  F3013: {
    status: "failed_precondition",
    meaning: "An adapter cannot be merged into a model's weights.",
    remedy: "Use a model with floating-point weights, or keep the adapter apart from the model.",
  },
} as const satisfies Record<string, ErrorCode>;
