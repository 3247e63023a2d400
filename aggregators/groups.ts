/** Which modality a tensor belongs to, by its name: for the ownership masks and for what a round reports. */
import type { Group } from "./strategy.ts";

/** Tried in this order; what none matches is shared. */
export const GROUP_PATTERNS = {
  image: "vision|visual|image|resampler|connector|mm_projector|multi_modal_projector",
  audio: "audio|speech|whisper",
  text: "embed_tokens",
} as const satisfies Partial<Record<Group, string>>;

const COMPILED = Object.entries(GROUP_PATTERNS).map(
  ([group, pattern]) => [group as Group, new RegExp(pattern)] as const,
);

export function groupOf(tensorName: string): Group {
  return COMPILED.find(([, pattern]) => pattern.test(tensorName))?.[0] ?? "shared";
}
