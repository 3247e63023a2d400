import type { ErrorCode } from "../errors.ts";

/** F30xx: tensors, safetensors files and PEFT adapters. */
export const adapterCodes = {
  F3001: {
    status: "data_loss",
    meaning: "A safetensors file is damaged or hostile.",
    remedy: "Fetch or write the file again.",
  },
} as const satisfies Record<string, ErrorCode>;
