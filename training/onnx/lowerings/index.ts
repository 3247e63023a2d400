/** The operators that are replaced by simpler ones before differentiation. */
import { loraInput } from "./lora-input.ts";
import type { Lowering } from "./lowering.ts";

export const LOWERINGS: readonly Lowering[] = [loraInput];
