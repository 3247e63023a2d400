/** A model's tokenizer: tokenizer.json run by @huggingface/tokenizers, and the special tokens that training needs by name. */
import { join } from "node:path";
import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { readJson, readJsonIfPresent } from "./json-file.ts";
import type { ModelConfig } from "./model-config.ts";

export interface Tokenizer {
  /** @param special whether the tokenizer adds what it puts around a text, such as a begin token */
  encode(text: string, options: { special: boolean }): number[];
  /** Text without special tokens. */
  decode(ids: readonly number[]): string;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  /** Tokens that are never the pieces of a text: marks of turns, images, padding. */
  isSpecial(id: number): boolean;
  readonly beginToken: string | undefined;
  readonly endToken: string | undefined;
  /** Ids that end a generation. */
  readonly endIds: ReadonlySet<number>;
  readonly padId: number;
}

const token = z.union([z.string(), z.object({ content: z.string() }).transform((t) => t.content)]).nullish();
const configSchema = z.looseObject({ bos_token: token, eos_token: token, pad_token: token });
const fileSchema = z.looseObject({ model: z.looseObject({}) });
const generationSchema = z.object({ eos_token_id: z.union([z.int(), z.array(z.int())]).nullish() });

export async function openTokenizer(directory: string, config: ModelConfig): Promise<Tokenizer> {
  const path = join(directory, "tokenizer.json");
  const file = await readJson(path, fileSchema);
  const settings = (await readJsonIfPresent(join(directory, "tokenizer_config.json"), configSchema)) ?? {};
  const generation = await readJsonIfPresent(join(directory, "generation_config.json"), generationSchema);
  const hub = build(path, file, settings);
  const idOf = (name: string): number | undefined => hub.token_to_id(name);
  const special = new Set(
    [...hub.get_added_tokens_decoder()].filter(([, added]) => added.special).map(([id]) => id),
  );
  const endIds = new Set(
    [generation?.eos_token_id, config.eos_token_id, config.text_config?.eos_token_id].flatMap(
      (ids) => ids ?? [],
    ),
  );
  const endToken = settings.eos_token ?? undefined;
  const endId = endToken === undefined ? undefined : idOf(endToken);
  if (endId !== undefined) endIds.add(endId);
  const padToken = settings.pad_token ?? undefined;
  const padId = padToken === undefined ? undefined : idOf(padToken);
  return {
    encode: (text, options) => hub.encode(text, { add_special_tokens: options.special }).ids,
    // A model may end its answer at once; the library refuses an empty list.
    decode: (ids) =>
      ids.length === 0
        ? ""
        : hub.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false }),
    idOf,
    tokenOf: (id) => hub.id_to_token(id),
    isSpecial: (id) => special.has(id),
    beginToken: settings.bos_token ?? undefined,
    endToken,
    endIds,
    padId: padId ?? config.pad_token_id ?? config.text_config?.pad_token_id ?? 0,
  };
}

function build(path: string, file: object, settings: object): HubTokenizer {
  try {
    return new HubTokenizer(file, settings);
  } catch (cause) {
    throw new FedloomError(
      "F2134",
      `Cannot use tokenizer "${path}": ${messageOf(cause)}`,
      { path },
      { cause },
    );
  }
}
