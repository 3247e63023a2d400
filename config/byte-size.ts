/** Amounts of memory as run files write them: "512MiB", "1.5GiB". */
import { z } from "zod";

const UNIT_BYTES = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;
const FORM = /^(\d+(?:\.\d+)?)(KiB|MiB|GiB)$/;

/** Stays text, so that a resolved configuration reads back as itself. */
export const byteSize = z.string().regex(FORM, 'must be an amount of memory such as "512MiB" or "4GiB"');

/** @throws TypeError for a text that `byteSize` would have refused */
export function bytesOf(text: string): number {
  const match = FORM.exec(text);
  if (match === null) throw new TypeError(`Not an amount of memory: "${text}"`);
  // as: the expression lets only these units through.
  return Math.round(Number(match[1]) * UNIT_BYTES[match[2] as keyof typeof UNIT_BYTES]);
}
