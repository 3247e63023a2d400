/** Where the LoRA branch of a module begins; without dropout it is its input. */
import type { Lowering } from "./lowering.ts";

export const loraInput: Lowering = {
  op: "LoraInput",
  domain: "fedloom",
  lower: (call) => [call.inputs[0]],
};
