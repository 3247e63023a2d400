/**
 * A generating model as a learner: rows of tokens in, next-token losses and gradients out. Of a model in three
 * graphs the decoder alone is trained: token embeddings come from a table, image features take the places of
 * the image tokens, row after row, as they were computed once.
 */
import { floats } from "../adapters/cast.ts";
import type { TensorSet } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";
import type { Images } from "./images.ts";
import type { Gradients, Learner, Losses } from "./learner.ts";
import type { Batch, Engine } from "./onnx/engine.ts";
import { attentionMask, labelsOf, paddedIds, paddedLength, type TextRow } from "./text-rows.ts";
import type { TokenEmbeddings } from "./token-embeddings.ts";

/** What stands before a decoder that takes embeddings. */
export interface Embedder {
  readonly embeddings: TokenEmbeddings;
  readonly images: Images | undefined;
  readonly imageTokenId: number | undefined;
}

export interface TextLearnerOptions {
  readonly decoder: Engine;
  /** Absent: the decoder takes token ids itself. */
  readonly embedder: Embedder | undefined;
  readonly padId: number;
  /** Longest batch in tokens that the model's positions reach. */
  readonly contextLength: number;
}

export class TextLearner implements Learner<TextRow> {
  readonly trainable: ReadonlySet<string>;
  readonly #options: TextLearnerOptions;

  constructor(options: TextLearnerOptions) {
    this.#options = options;
    this.trainable = new Set(options.decoder.parameters.map(({ name }) => name));
  }

  async gradients(rows: readonly TextRow[], parameters: TensorSet, seed?: string): Promise<Gradients> {
    const { batch, length } = await this.#batch(rows);
    return this.#options.decoder.step(
      { ...batch, labels: labelsOf(rows, length), ...(seed === undefined ? {} : { seed }) },
      parameters,
    );
  }

  async losses(rows: readonly TextRow[], parameters: TensorSet): Promise<Losses> {
    const scores = await this.logLikelihoods(rows, parameters);
    return {
      lossSum: -scores.reduce((sum, { logLikelihood }) => sum + logLikelihood, 0),
      labels: scores.reduce((sum, { tokens }) => sum + tokens, 0),
    };
  }

  /** Log-likelihood of each row's answer, summed over its tokens. */
  async logLikelihoods(
    rows: readonly TextRow[],
    parameters: TensorSet,
  ): Promise<{ logLikelihood: number; tokens: number }[]> {
    // The token at position i is predicted by the logits at i - 1.
    const places = rows.flatMap((row, r) =>
      Array.from({ length: row.length - row.answerFrom }, (_, i) => ({
        row: r,
        at: row.answerFrom + i - 1,
        label: row.ids[row.answerFrom + i]!,
      })),
    );
    const logits = await this.logits(rows, places, parameters);
    const scores = rows.map(() => ({ logLikelihood: 0, tokens: 0 }));
    places.forEach((place, i) => {
      const score = scores[place.row]!;
      score.logLikelihood += logSoftmaxAt(logits[i]!, place.label);
      score.tokens++;
    });
    return scores;
  }

  /** Logits over the vocabulary at positions of rows. */
  async logits(
    rows: readonly TextRow[],
    places: readonly { readonly row: number; readonly at: number }[],
    parameters: TensorSet,
  ): Promise<Float32Array[]> {
    if (places.length === 0) return [];
    const { batch, length } = await this.#batch(rows);
    const wanted = places.map(({ row, at }) => row * length + at);
    const output = await this.#options.decoder.forward(batch, parameters, wanted);
    const width = output.shape.at(-1)!;
    const data = floats(output) as Float32Array; // logits are F32 or narrower
    return places.map((_, i) => data.subarray(i * width, (i + 1) * width));
  }

  async #batch(rows: readonly TextRow[]): Promise<{ batch: Batch; length: number }> {
    const { embedder, padId, contextLength } = this.#options;
    const length = paddedLength(Math.max(...rows.map((row) => row.length)), contextLength);
    const mask = attentionMask(rows, length);
    const inputs: TensorSet =
      embedder === undefined
        ? new Map([
            ["attention_mask", mask],
            ["input_ids", paddedIds(rows, length, padId)],
          ])
        : new Map([
            ["attention_mask", mask],
            ["inputs_embeds", await embed(embedder, rows, length)],
          ]);
    return { batch: { inputs }, length };
  }
}

/** [rows, length, hidden]; zero on padding. */
async function embed(
  { embeddings, images, imageTokenId }: Embedder,
  rows: readonly TextRow[],
  length: number,
) {
  await embeddings.load(rows.flatMap((row) => [...row.ids]));
  const hidden = embeddings.row(rows[0]!.ids[0]!).length;
  const data = new Float32Array(rows.length * length * hidden);
  for (const [r, row] of rows.entries()) {
    const features: Float32Array[] = [];
    for (const ref of row.images) features.push(...(await images!.features(ref))); // a row with images was made with them
    const places = row.images.length === 0 ? [] : placesOf(row.ids, imageTokenId);
    const given = features.reduce((sum, part) => sum + part.length, 0) / hidden;
    if (given !== places.length) {
      throw new FedloomError(
        "F2139",
        `Cannot use example "${row.id}": its prompt has ${places.length} image tokens, the vision encoder gives ${given} features`,
        { example: row.id },
      );
    }
    row.ids.forEach((id, i) => {
      data.set(embeddings.row(id), (r * length + i) * hidden);
    });
    let place = 0;
    for (const part of features) {
      for (let from = 0; from < part.length; from += hidden) {
        data.set(part.subarray(from, from + hidden), (r * length + places[place++]!) * hidden);
      }
    }
  }
  return { dtype: "F32", shape: [rows.length, length, hidden], data } as const;
}

function placesOf(ids: Int32Array, token: number | undefined): number[] {
  const places: number[] = [];
  ids.forEach((id, i) => {
    if (id === token) places.push(i);
  });
  return places;
}

function logSoftmaxAt(logits: Float32Array, label: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > max) max = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  return logits[label]! - max - Math.log(sum);
}
