/** A classifier as a learner: texts or pictures in, the cross-entropy of their classes and its gradients out. */
import { floats } from "../adapters/cast.ts";
import { float32, type Tensor, type TensorSet } from "../adapters/tensor.ts";
import type { FeatureCache } from "./feature-cache.ts";
import { FrontStates, rowKey } from "./front-states.ts";
import type { Gradients, Learner, Losses, Portion, Row } from "./learner.ts";
import type { MediaFiles, MediaRef } from "./media.ts";
import type { Batch, Engine, Share } from "./onnx/engine.ts";
import { logSoftmax } from "./softmax.ts";
import { attentionMask, paddedIds, paddedLength } from "./text-rows.ts";

export interface ClassRow extends Row {
  /** Index of the class; undefined where the example's is not known. */
  readonly label: number | undefined;
  /** Tokens of a text; empty for a picture. */
  readonly ids: Int32Array;
  readonly image: MediaRef | undefined;
}

export interface ClassLearnerOptions {
  readonly engine: Engine;
  /** Absent for texts. */
  readonly images: MediaFiles | undefined;
  readonly padId: number;
  readonly contextLength: number;
  /** Where what frozen layers give is kept; absent: they are run in every step. */
  readonly fronts?: FeatureCache | undefined;
}

const MASK = "attention_mask";

export class ClassLearner implements Learner<ClassRow> {
  readonly trainable: ReadonlySet<string>;
  readonly tables: ReadonlySet<string>;
  readonly #options: ClassLearnerOptions;
  readonly #fronts: FrontStates<ClassRow> | undefined;

  constructor(options: ClassLearnerOptions) {
    this.#options = options;
    // Without a mask what stands on padding shows in what stands beside it.
    const isApart = options.images !== undefined || options.engine.inputs.some(({ name }) => name === MASK);
    this.#fronts =
      options.fronts && isApart
        ? new FrontStates({
            engine: options.engine,
            cache: options.fronts,
            batchOf: async (row) => ({ inputs: await this.#inputs([row]) }),
            keyOf: ({ ids, image }) => rowKey(ids, image ? [image] : []),
          })
        : undefined;
    const { parameters } = options.engine;
    this.trainable = new Set(parameters.map(({ name }) => name));
    this.tables = new Set(parameters.filter(({ table }) => table).map(({ name }) => name));
  }

  async gradients(rows: readonly ClassRow[], parameters: TensorSet, seed?: string): Promise<Gradients> {
    const portion = { rows, parameters, ...(seed === undefined ? {} : { seed }) };
    return (await this.gradientsTogether([portion]))[0]!;
  }

  async gradientsTogether(portions: readonly Portion<ClassRow>[]): Promise<readonly Gradients[]> {
    const shares: Share[] = [];
    for (const { rows, parameters, seed } of portions) {
      const batch = await this.#batch(rows);
      shares.push({ parameters, batch: { ...batch, ...(seed === undefined ? {} : { seed }) } });
    }
    return this.#options.engine.stepTogether(shares);
  }

  async bytesOf(rows: readonly ClassRow[]): Promise<number> {
    return (await this.#options.engine.estimate(await this.#batch(rows))).activationBytes;
  }

  async #batch(rows: readonly ClassRow[]): Promise<Batch> {
    const data = BigInt64Array.from(rows, ({ label }) => BigInt(label!)); // rows for training have one
    const inputs = await this.#inputs(rows);
    const front = await this.#fronts?.of(rows, inputs.get("input_ids")?.shape[1]);
    return { inputs, labels: { dtype: "I64", shape: [rows.length], data }, ...(front && { front }) };
  }

  async losses(rows: readonly ClassRow[], parameters: TensorSet): Promise<Losses> {
    const scores = await this.logProbabilities(rows, parameters);
    return { lossSum: -scores.reduce((sum, row, r) => sum + row[rows[r]!.label!]!, 0), labels: rows.length };
  }

  /** Of every class, for each row. */
  async logProbabilities(rows: readonly ClassRow[], parameters: TensorSet): Promise<Float64Array[]> {
    const output = await this.#options.engine.forward({ inputs: await this.#inputs(rows) }, parameters);
    const classes = output.shape.at(-1)!;
    const logits = floats(output) as Float32Array; // logits are F32 or narrower
    return rows.map((_, r) => logSoftmax(logits.subarray(r * classes, (r + 1) * classes)));
  }

  async #inputs(rows: readonly ClassRow[]): Promise<TensorSet> {
    const { images, padId, contextLength } = this.#options;
    if (images !== undefined) return pictures(images, rows);
    const length = paddedLength(Math.max(...rows.map((row) => row.length)), contextLength);
    const shape = [rows.length, length];
    return new Map<string, Tensor>([
      [MASK, attentionMask(rows, length)],
      ["input_ids", paddedIds(rows, length, padId)],
      ["token_type_ids", { dtype: "I64", shape, data: new BigInt64Array(rows.length * length) }],
    ]);
  }
}

async function pictures(images: MediaFiles, rows: readonly ClassRow[]): Promise<TensorSet> {
  const frames: Tensor[] = [];
  // Rows of a classifier of pictures have one; its processor gives every picture the same size.
  for (const { image } of rows) frames.push((await images.inputs(image!, 0)).get("pixel_values")!);
  const size = frames[0]!.data.length;
  const data = new Float32Array(rows.length * size);
  frames.forEach((frame, r) => {
    data.set(frame.data as Float32Array, r * size);
  });
  return new Map([["pixel_values", float32([rows.length, ...frames[0]!.shape.slice(1)], data)]]);
}
