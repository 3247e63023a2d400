/** Greedy text: the likeliest next token, again and again, until an end token or the limit. */
import { floats } from "../adapters/cast.ts";
import { float32, type Tensor, type TensorSet } from "../adapters/tensor.ts";
import type { Example } from "../data/example.ts";
import { assertNotAborted, microBatches } from "./learner.ts";
import type { Decoding } from "./onnx/decoding.ts";
import { fitInputs } from "./onnx/fit-inputs.ts";
import type { Predictor } from "./options.ts";
import { promptRow, type TextRow } from "./text-rows.ts";

/** What a row is gone on with. */
export type Speaker = Pick<Predictor, "learner" | "parameters" | "signal"> & {
  readonly endIds: ReadonlySet<number>;
};

export async function generate(
  predictor: Predictor,
  examples: readonly Example[],
  maxNewTokens: number,
): Promise<Map<Example, string>> {
  if (examples.length === 0) return new Map();
  const { tokenizer } = predictor.maker.text;
  const prompts: { example: Example; row: TextRow; length: number }[] = [];
  for (const example of examples) {
    const row = await promptRow(predictor.maker, example, maxNewTokens);
    prompts.push({ example, row, length: row.length });
  }
  const decoding = await predictor.decoding();
  const speaker: Speaker = { ...predictor, endIds: tokenizer.endIds };
  const texts = new Map<Example, string>();
  // With a cache rows go one by one: padding inside a cache is not told to every kind of attention.
  for (const batch of microBatches(prompts, decoding === undefined ? predictor.batchSize : 1)) {
    const rows = batch.map(({ row }) => row);
    const said =
      decoding === undefined
        ? await generateAnew(speaker, rows, maxNewTokens)
        : [await generateCached(speaker, decoding, rows[0]!, maxNewTokens)];
    batch.forEach(({ example }, i) => {
      texts.set(example, tokenizer.decode(said[i]!).trim());
    });
  }
  return texts;
}

/** Positions of a prompt that run at a time: logits of a large vocabulary are a fifth of a MiB for each. */
const PROMPT_CHUNK = 128;

/** Token ids after the row, computed with the decoder's cache: each token runs once. */
export async function generateCached(
  { learner, parameters, signal, endIds }: Speaker,
  decoding: Decoding,
  row: TextRow,
  maxNewTokens: number,
  promptChunk = PROMPT_CHUNK,
): Promise<number[]> {
  const said: number[] = [];
  let caches = decoding.emptyCaches();
  let part = row;
  let done = 0;
  for (;;) {
    assertNotAborted(signal, "Prediction");
    const embeds = await learner.embedded(part, parameters);
    let logits: Float32Array = new Float32Array();
    for (let from = 0; from < part.length; from += promptChunk) {
      const to = Math.min(part.length, from + promptChunk);
      const inputs = decoderInputs(decoding, part.ids.subarray(from, to), embeds, from, done);
      const result = await decoding.run(inputs, caches, parameters);
      caches = result.caches;
      done += to - from;
      logits = lastRow(result.logits);
    }
    const next = indexOfLargest(logits);
    if (endIds.has(next)) return said;
    said.push(next);
    if (said.length === maxNewTokens) return said;
    // What was said is text: no media.
    part = { ...row, ids: Int32Array.of(next), length: 1, answerFrom: 1, media: [] };
  }
}

/** @param done tokens in the cache @param from of the part's vectors, those of these ids */
function decoderInputs(
  { inputs }: Decoding,
  ids: Int32Array,
  embeds: Tensor | undefined,
  from: number,
  done: number,
): TensorSet {
  const count = ids.length;
  const int64 = (length: number, value: (i: number) => number): Tensor => ({
    dtype: "I64",
    shape: [1, length],
    data: BigInt64Array.from({ length }, (_, i) => BigInt(value(i))),
  });
  const all = new Map<string, Tensor>([
    ["attention_mask", int64(done + count, () => 1)],
    ["position_ids", int64(count, (i) => done + i)],
    ["input_ids", int64(count, (i) => ids[i]!)],
  ]);
  if (embeds !== undefined) {
    const hidden = embeds.shape[2]!;
    const data = (embeds.data as Float32Array).subarray(from * hidden, (from + count) * hidden); // F32 as `embed` makes it
    all.set("inputs_embeds", float32([1, count, hidden], data));
  }
  return fitInputs(inputs, all);
}

function lastRow(logits: Tensor): Float32Array {
  const width = logits.shape.at(-1)!;
  return (floats(logits) as Float32Array).subarray(-width); // logits are F32 or narrower
}

/** Token ids after each row, where the graph has no cache: every token runs the whole prefix. */
export async function generateAnew(
  { learner, parameters, signal, endIds }: Speaker,
  rows: readonly TextRow[],
  maxNewTokens: number,
): Promise<number[][]> {
  const all = rows.map((row) => ({ row, said: [] as number[] }));
  let going = all;
  for (let step = 0; step < maxNewTokens && going.length > 0; step++) {
    assertNotAborted(signal, "Prediction");
    const now = going.map(({ row }) => row);
    const places = now.map(({ length }, row) => ({ row, at: length - 1 }));
    const logits = await learner.logits(now, places, parameters);
    going = going.filter((one, i) => {
      const next = indexOfLargest(logits[i]!);
      if (endIds.has(next)) return false;
      one.said.push(next);
      one.row = extended(one.row, next);
      return true;
    });
  }
  return all.map(({ said }) => said);
}

function extended(row: TextRow, id: number): TextRow {
  const ids = new Int32Array(row.length + 1);
  ids.set(row.ids);
  ids[row.length] = id;
  return { ...row, ids, length: ids.length, answerFrom: ids.length };
}

function indexOfLargest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
