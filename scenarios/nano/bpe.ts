/**
 * A byte-level BPE vocabulary learned from a list of words, such that each of them is one token; any other text
 * is still spelled out of smaller pieces. Written as the tokenizer.json that tokenizer libraries read.
 *
 * Source: Sennrich et al. 2016, Algorithm 1, https://arxiv.org/abs/1508.07909; bytes as in GPT-2.
 */

/** GPT-2's printable stand-in for each byte, so that a token is a string without blanks or controls. */
const BYTE_SYMBOLS: readonly string[] = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

export function symbolsOf(text: string): string[] {
  return [...Buffer.from(text, "utf8")].map((byte) => BYTE_SYMBOLS[byte]!);
}

export type Merge = readonly [string, string];

/**
 * Merges the most frequent pair until every word is one token. Ties go to the pair that sorts first, so that the
 * same words always give the same vocabulary.
 */
export function learnMerges(words: readonly string[]): Merge[] {
  const pieces = [...new Set(words)].map(symbolsOf);
  const merges: Merge[] = [];
  for (;;) {
    const counts = new Map<string, number>();
    for (const word of pieces) {
      for (let i = 0; i + 1 < word.length; i++) {
        const key = `${word[i]} ${word[i + 1]}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    }
    if (counts.size === 0) return merges;
    const [best] = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))[0]!;
    const [left, right] = best.split(" ") as [string, string]; // a key is two symbols and a blank
    merges.push([left, right]);
    for (const [i, word] of pieces.entries()) pieces[i] = merged(word, left, right);
  }
}

function merged(word: readonly string[], left: string, right: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < word.length; i++) {
    if (word[i] === left && word[i + 1] === right) {
      out.push(left + right);
      i++;
    } else out.push(word[i]!);
  }
  return out;
}

/** @param specials tokens that stand for themselves and get the first ids */
export function tokenizerJson(specials: readonly string[], merges: readonly Merge[]): object {
  const tokens = [...specials, ...BYTE_SYMBOLS, ...merges.map(([left, right]) => left + right)];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specials.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id])),
      merges: merges.map(([left, right]) => `${left} ${right}`),
    },
  };
}
