/** Examples of a generating model as rows of tokens, and rows as padded batches. */
import type { Tensor } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";
import { type Example, modalitiesOf } from "../data/example.ts";
import type { Row } from "./learner.ts";
import type { MediaFiles, MediaRef } from "./media.ts";
import { type Encoded, encodePrompt, encodeWithAnswer, NO_LABEL, type TextModel } from "./models/encode.ts";

export interface TextRow extends Row {
  readonly ids: Int32Array;
  /** From here on the tokens are the answer, which alone is labelled. */
  readonly answerFrom: number;
  readonly media: readonly MediaRef[];
}

/** What rows are made with. */
export interface RowMaker {
  readonly text: TextModel;
  readonly images: MediaFiles | undefined;
  readonly sounds: MediaFiles | undefined;
  /** Longest row in tokens, and what sets it. */
  readonly limit: { readonly tokens: number; readonly reason: string };
  /** Rows made before, by example and answer: rounds and evaluations see the same examples again and again. */
  readonly known: WeakMap<Example, Map<string | undefined, TextRow>>;
}

/** @throws FedloomError F2132 where the example is longer than the limit, F2131 and F2139 where it is not usable */
export async function trainingRow(maker: RowMaker, example: Example, answer?: string): Promise<TextRow> {
  const rows = maker.known.get(example) ?? new Map<string | undefined, TextRow>();
  let row = rows.get(answer);
  if (row === undefined) {
    const media = await openMedia(maker, example);
    row = rowOf(example, encodeWithAnswer(maker.text, example, media, answer), media);
    maker.known.set(example, rows.set(answer, row));
  }
  return withinLimit(maker, row);
}

/** @param room tokens that the answer may take beyond the prompt */
export async function promptRow(maker: RowMaker, example: Example, room: number): Promise<TextRow> {
  const media = await openMedia(maker, example);
  return withinLimit(maker, rowOf(example, encodePrompt(maker.text, example, media), media), room);
}

/** Encode refuses an example that has media which the model does not take. */
async function openMedia({ images, sounds }: RowMaker, example: Example): Promise<MediaRef[]> {
  const refs: MediaRef[] = [];
  if (images !== undefined) for (const media of example.images) refs.push(await images.open(media));
  if (sounds !== undefined) for (const media of example.audios) refs.push(await sounds.open(media));
  return refs;
}

function rowOf(example: Example, { ids, answerFrom }: Encoded, media: readonly MediaRef[]): TextRow {
  const present = modalitiesOf(example);
  return {
    id: example.id,
    length: ids.length,
    touched: {
      text: present.includes("text"),
      image: present.includes("image"),
      audio: present.includes("audio"),
    },
    ids,
    answerFrom,
    media,
  };
}

function withinLimit({ limit }: RowMaker, row: TextRow, room = 0): TextRow {
  if (row.length + room <= limit.tokens) return row;
  throw new FedloomError(
    "F2132",
    `Cannot use example "${row.id}": at most ${limit.tokens} tokens are allowed (${limit.reason}), got ${row.length}${room > 0 ? ` and ${room} for the answer` : ""}`,
    { example: row.id, limit: limit.tokens, got: row.length + room },
  );
}

/**
 * The padded length of a batch. Graphs are planned for each shape, so lengths come in few sizes: multiples of 16
 * up to 128, of 32 up to 256, and so on, at most an eighth more than is needed beyond the first few.
 */
export function paddedLength(longest: number, limit: number): number {
  const grain = Math.max(16, 2 ** (Math.ceil(Math.log2(Math.max(1, longest))) - 3));
  return Math.max(longest, Math.min(limit, Math.ceil(longest / grain) * grain));
}

/** 1 on tokens, 0 on padding, which stands on the right: [rows, length]. */
export function attentionMask(rows: readonly Pick<TextRow, "length">[], length: number): Tensor {
  const data = new BigInt64Array(rows.length * length);
  for (const [r, row] of rows.entries()) data.fill(1n, r * length, r * length + row.length);
  return { dtype: "I64", shape: [rows.length, length], data };
}

export function paddedIds(rows: readonly Pick<TextRow, "ids">[], length: number, padId: number): Tensor {
  const data = new BigInt64Array(rows.length * length).fill(BigInt(padId));
  rows.forEach((row, r) => {
    row.ids.forEach((id, i) => {
      data[r * length + i] = BigInt(id);
    });
  });
  return { dtype: "I64", shape: [rows.length, length], data };
}

/** The answer's ids at their own positions, NO_LABEL elsewhere: [rows, length]. */
export function labelsOf(rows: readonly TextRow[], length: number): Tensor {
  const data = new BigInt64Array(rows.length * length).fill(BigInt(NO_LABEL));
  rows.forEach((row, r) => {
    for (let i = row.answerFrom; i < row.length; i++) data[r * length + i] = BigInt(row.ids[i]!);
  });
  return { dtype: "I64", shape: [rows.length, length], data };
}
