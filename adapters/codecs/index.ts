/** The codecs there are, by the names that run files use. */
import { FedloomError } from "../../base/errors.ts";
import { bf16 } from "./bf16.ts";
import type { Codec } from "./codec.ts";
import { fp16 } from "./fp16.ts";
import { fp32 } from "./fp32.ts";
import { int4 } from "./int4.ts";
import { int8 } from "./int8.ts";
import { rowsOf } from "./rows.ts";
import { topK } from "./top-k.ts";

const PLAIN: readonly Codec[] = [fp32, fp16, bf16, int8, int4, topK];

export const CODECS: readonly Codec[] = [...PLAIN, ...PLAIN.map(rowsOf)];

/** What a client says it understands. */
export const CODEC_NAMES: readonly string[] = CODECS.map(({ name }) => name);

/** @throws FedloomError F3010 for a name that is not in the list */
export function codecOf(name: string): Codec {
  const found = CODECS.find((codec) => codec.name === name);
  if (found !== undefined) return found;
  throw new FedloomError(
    "F3010",
    `Cannot use codec "${name.slice(0, 40)}": known are ${CODEC_NAMES.join(", ")}`,
    {
      known: CODEC_NAMES,
    },
  );
}

/**
 * The first codec wanted that the client understands; fp32, which every client understands, where there is none.
 *
 * @param wanted in order of preference
 * @param offered what the client said in its Hello; names we do not know are passed over
 */
export function negotiate(wanted: readonly string[], offered: readonly string[]): Codec {
  for (const name of wanted) {
    const codec = codecOf(name);
    if (offered.includes(name)) return codec;
  }
  return fp32;
}
