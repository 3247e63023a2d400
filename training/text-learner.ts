/**
 * A generating model as a learner: rows of tokens in, next-token losses and gradients out. Where an
 * encoder is trained too, the gradient of the decoder's input at its media's places goes back through it, and so it
 * goes at the tokens' places to embeddings that have a graph of their own.
 */
import { floats } from "../adapters/cast.ts";
import type { Tensor, TensorSet } from "../adapters/tensor.ts";
import type { FeatureCache } from "./feature-cache.ts";
import { FrontStates, rowKey } from "./front-states.ts";
import type { Gradients, Learner, Losses, Portion } from "./learner.ts";
import { addAll } from "./media.ts";
import type { Batch, Engine, StepResult } from "./onnx/engine.ts";
import { logSoftmaxAt } from "./softmax.ts";
import { type Embedder, embed, mediaGradients, type Placement, tokenGradients } from "./text-embedding.ts";
import { attentionMask, labelsOf, paddedIds, paddedLength, type TextRow } from "./text-rows.ts";

export interface TextLearnerOptions {
  /** Gives the gradient of "inputs_embeds" too, where an encoder is trained. */
  readonly decoder: Engine;
  /** Absent: the decoder takes token ids itself. */
  readonly embedder: Embedder | undefined;
  /** Names of the tensors that the decoder and the encoders train. */
  readonly trainable: ReadonlySet<string>;
  /** Those of them that are embeddings. */
  readonly tables: ReadonlySet<string>;
  readonly padId: number;
  /** Longest batch in tokens that the model's positions reach. */
  readonly contextLength: number;
  /** Where what frozen layers give is kept; absent: they are run in every step. */
  readonly fronts?: FeatureCache | undefined;
}

interface PaddedBatch {
  readonly batch: Batch;
  /** Tokens of each row, padding included. */
  readonly length: number;
  readonly placements: readonly Placement[];
}

export class TextLearner implements Learner<TextRow> {
  readonly trainable: ReadonlySet<string>;
  readonly tables: ReadonlySet<string>;
  readonly #options: TextLearnerOptions;
  readonly #fronts: FrontStates<TextRow> | undefined;

  constructor(options: TextLearnerOptions) {
    this.#options = options;
    this.#fronts =
      options.fronts &&
      new FrontStates({
        engine: options.decoder,
        cache: options.fronts,
        batchOf: async (row) => (await this.#batch([row], new Map())).batch,
        keyOf: ({ ids, media }) => rowKey(ids, media),
      });
    this.trainable = options.trainable;
    this.tables = options.tables;
  }

  async gradients(rows: readonly TextRow[], parameters: TensorSet, seed?: string): Promise<Gradients> {
    const portion = { rows, parameters, ...(seed === undefined ? {} : { seed }) };
    return (await this.gradientsTogether([portion]))[0]!;
  }

  async gradientsTogether(portions: readonly Portion<TextRow>[]): Promise<readonly Gradients[]> {
    const { decoder } = this.#options;
    const padded: PaddedBatch[] = [];
    for (const { rows, parameters, seed } of portions)
      padded.push(await this.#begun(rows, await this.#batch(rows, parameters, seed)));
    const results = await decoder.stepTogether(
      portions.map(({ rows, parameters, seed }, i) => {
        const { batch, length } = padded[i]!;
        const labels = labelsOf(rows, length);
        return { parameters, batch: { ...batch, labels, ...(seed === undefined ? {} : { seed }) } };
      }),
    );
    const all: Gradients[] = [];
    for (const [i, result] of results.entries())
      all.push(await this.#throughInputs(result, padded[i]!.placements, portions[i]!));
    return all;
  }

  /** With the gradients of what stands before the decoder and is trained: encoders, embeddings. */
  async #throughInputs(
    result: StepResult,
    placements: readonly Placement[],
    { rows, parameters, seed }: Portion<TextRow>,
  ): Promise<Gradients> {
    const gradients = new Map<string, Tensor>();
    const embeddings = this.#options.embedder?.embeddings;
    if (embeddings?.isTrained) {
      const embedded = result.inputGradients.get("inputs_embeds")!; // the decoder was opened to give it
      addAll(gradients, await embeddings.backward(tokenGradients(embedded, rows, placements), parameters));
    }
    for (const placement of placements) {
      const encoder = this.#options.embedder?.encoders.get(placement.ref.kind)?.encoder;
      if (encoder?.backward === undefined) continue;
      const embedded = result.inputGradients.get("inputs_embeds")!; // the decoder was opened to give it
      const atPlaces = mediaGradients(embedded, placement);
      addAll(gradients, await encoder.backward(placement.ref, parameters, atPlaces, seed));
    }
    if (gradients.size === 0) return result;
    return { ...result, gradients: new Map([...result.gradients, ...gradients]) };
  }

  async bytesOf(rows: readonly TextRow[], parameters: TensorSet): Promise<number> {
    const { batch, length } = await this.#begun(rows, await this.#batch(rows, parameters));
    const estimate = await this.#options.decoder.estimate({ ...batch, labels: labelsOf(rows, length) });
    return estimate.activationBytes;
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

  /** The vectors that a decoder takes for one row, [1, length, hidden]; undefined where it takes token ids. */
  async embedded(row: TextRow, parameters: TensorSet): Promise<Tensor | undefined> {
    const { embedder } = this.#options;
    return embedder && (await embed(embedder, [row], row.length, parameters)).embeds;
  }

  /** Logits over the vocabulary at positions of rows. */
  async logits(
    rows: readonly TextRow[],
    places: readonly { readonly row: number; readonly at: number }[],
    parameters: TensorSet,
  ): Promise<Float32Array[]> {
    if (places.length === 0) return [];
    const { batch, length } = await this.#batch(rows, parameters);
    const wanted = places.map(({ row, at }) => row * length + at);
    const output = await this.#options.decoder.forward(batch, parameters, wanted);
    const width = output.shape.at(-1)!;
    const data = floats(output) as Float32Array; // logits are F32 or narrower
    return places.map((_, i) => data.subarray(i * width, (i + 1) * width));
  }

  /** With what frozen layers gave for its rows. */
  async #begun(rows: readonly TextRow[], padded: PaddedBatch): Promise<PaddedBatch> {
    const front = await this.#fronts?.of(rows, padded.length);
    return front === undefined ? padded : { ...padded, batch: { ...padded.batch, front } };
  }

  async #batch(rows: readonly TextRow[], parameters: TensorSet, seed?: string): Promise<PaddedBatch> {
    const { embedder, padId, contextLength } = this.#options;
    const length = paddedLength(Math.max(...rows.map((row) => row.length)), contextLength);
    const mask = ["attention_mask", attentionMask(rows, length)] as const;
    if (embedder === undefined) {
      const ids = new Map<string, Tensor>([mask, ["input_ids", paddedIds(rows, length, padId)]]);
      return { batch: { inputs: ids }, length, placements: [] };
    }
    const { embeds, placements } = await embed(embedder, rows, length, parameters, seed);
    const vectors = new Map<string, Tensor>([mask, ["inputs_embeds", embeds]]);
    return { batch: { inputs: vectors }, length, placements };
  }
}
