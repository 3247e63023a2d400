/** The tokenizer of fedloom-nano as pretraining uses it, made from the words of the lessons. */
import { Tokenizer } from "@huggingface/tokenizers";
import type { Codec } from "./batch.ts";
import { tokenizerJson } from "./bpe.ts";
import { SPECIALS } from "./lesson.ts";
import { vocabularyMerges } from "./vocabulary.ts";

export interface NanoTokenizer extends Codec {
  /** tokenizer.json */
  readonly json: object;
  readonly vocabulary: number;
}

export function nanoTokenizer(): NanoTokenizer {
  const json = tokenizerJson(SPECIALS, vocabularyMerges());
  const tokenizer = new Tokenizer(json, {});
  return {
    json,
    vocabulary: tokenizer.get_vocab(true).size,
    encode: (text) => tokenizer.encode(text, { add_special_tokens: false }).ids,
  };
}
