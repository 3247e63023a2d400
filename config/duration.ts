/** Spans of time as run files write them: "500ms", "60s", "30m", "2h", "1.5d". */
import { z } from "zod";

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const FORM = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** Stays text, so that a resolved configuration reads back as itself. */
export const duration = z.string().regex(FORM);

/** @throws TypeError for a text that `duration` would have refused */
export function durationMs(text: string): number {
  const match = FORM.exec(text);
  if (match === null) throw new TypeError(`Not a duration: "${text}"`);
  // as: the expression lets only these units through.
  return Math.round(Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]);
}
