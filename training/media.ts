/**
 * Pictures and sounds of examples to what a decoder takes of them: their grid of frames, which the prompt's tokens
 * follow, and their encoder's features. A file is decoded once, whatever examples share it, and encoded once as
 * long as its encoder is frozen.
 */
import { floats } from "../adapters/cast.ts";
import { float32, type Tensor, type TensorSet } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import type { Media } from "../data/example.ts";
import type { FeatureCache } from "./feature-cache.ts";
import { FrameCache } from "./frame-cache.ts";
import { FrontStates } from "./front-states.ts";
import type { Frame, ImageProcessor } from "./models/image-processor.ts";
import type { MediaGrid, MediaKind } from "./models/media-kind.ts";
import { readMedia } from "./models/picture.ts";
import type { SoundProcessor } from "./models/sound-processor.ts";
import type { Batch, Engine } from "./onnx/engine.ts";

export interface MediaRef extends MediaGrid {
  /** SHA-256 of the file. */
  readonly key: string;
  /** Width and height of each frame. */
  readonly frames: readonly (readonly [number, number])[];
  readonly media: Media;
}

/** Where a decoder's features of pictures or sounds come from. */
export interface MediaEncoder {
  /** Feature rows of a file, frame after frame, each [tokens, hidden] flat. */
  features(ref: MediaRef, parameters: TensorSet, seed?: string): Promise<Float32Array[]>;
  /** Gradients of the encoder's own parameters; absent where it is frozen. @param gradients as `features` gave them */
  backward?(
    ref: MediaRef,
    parameters: TensorSet,
    gradients: readonly Float32Array[],
    seed?: string,
  ): Promise<TensorSet>;
}

/** Decoded media that stay in memory: 128 MiB, 40 frames of 512 x 512. What left is decoded again. */
const FRAME_BYTES = 128 * 2 ** 20;

type Processor = ImageProcessor | SoundProcessor;

/** Media of one kind by the hash of their files. */
export class MediaFiles {
  readonly #kind: MediaKind;
  readonly #processor: Processor;
  readonly #features: FeatureCache;
  readonly #frames: FrameCache;
  readonly #known = new WeakMap<Media, MediaRef>();
  readonly #byKey = new Map<string, MediaRef>();
  readonly #counter: Engine | undefined;
  /** Feature rows that the counter gave, by the size of the frame. */
  readonly #counts = new Map<string, number>();

  /**
   * @param features where a frozen encoder's features are kept
   * @param options.counter encoder whose output tells how many rows a sound has, where no rule of the model does
   * @param options.frameBytes bound of the decoded frames in memory
   */
  constructor(
    processor: Processor,
    features: FeatureCache,
    { counter, frameBytes = FRAME_BYTES }: { counter?: Engine | undefined; frameBytes?: number } = {},
  ) {
    this.#kind = processor.family === "spectrogram" ? "audio" : "image";
    this.#counter = counter;
    this.#processor = processor;
    this.#features = features;
    this.#frames = new FrameCache(frameBytes);
  }

  /** Decodes a file unless it was met before. @throws FedloomError F2131 where it is none of the kind */
  async open(media: Media): Promise<MediaRef> {
    const met = this.#known.get(media);
    if (met !== undefined) return met;
    const bytes = await readMedia(media, NOUN[this.#kind]);
    const key = sha256(bytes);
    let ref = this.#byKey.get(key);
    if (ref === undefined) {
      const { frames, rows, columns } = await this.#processor.process(bytes, media.name);
      this.#frames.put(key, frames);
      const sizes = frames.map(({ width, height }) => [width, height] as const);
      ref = { kind: this.#kind, key, rows, columns, frames: sizes, media };
      if (this.#counter !== undefined)
        ref = { ...ref, rows: 1, columns: await this.#count(this.#counter, ref) };
      this.#byKey.set(key, ref);
    }
    this.#known.set(media, ref);
    return ref;
  }

  /** Feature rows of a file. What the encoder has to run for is kept. */
  async #count(encoder: Engine, ref: MediaRef): Promise<number> {
    let sum = 0;
    for (const [i, size] of ref.frames.entries()) {
      let count = this.#counts.get(size.join());
      if (count === undefined) {
        const output = await encoder.forward({ inputs: await this.inputs(ref, i) }, new Map());
        await this.#features.put(`${ref.key}-${i}`, flat(output));
        count = output.shape.slice(0, -1).reduce((product, length) => product * length, 1);
        this.#counts.set(size.join(), count);
      }
      sum += count;
    }
    return sum;
  }

  /** What an encoder takes for one frame of an opened file. */
  async inputs({ key, media }: MediaRef, i: number): Promise<TensorSet> {
    let frames = this.#frames.get(key);
    if (frames === undefined) {
      ({ frames } = await this.#processor.process(await readMedia(media, NOUN[this.#kind]), media.name));
      this.#frames.put(key, frames);
    }
    const frame = frames[i];
    if (frame === undefined) {
      throw new FedloomError(
        "F2131",
        `Cannot use ${NOUN[this.#kind]} "${media.name}": its file changed while it was in use`,
      );
    }
    return frameInputs(this.#processor.family, frame);
  }

  /** Encodes with the base alone, each file once. */
  frozen(encoder: Engine): MediaEncoder {
    return {
      features: async (ref) => {
        const all: Float32Array[] = [];
        for (const i of ref.frames.keys()) {
          const key = `${ref.key}-${i}`;
          const cached = await this.#features.get(key);
          if (cached !== undefined) {
            all.push(cached);
            continue;
          }
          const inputs = await this.inputs(ref, i);
          const features = flat(await encoder.forward({ inputs }, new Map()));
          await this.#features.put(key, features);
          all.push(features);
        }
        return all;
      },
    };
  }

  /**
   * Encodes anew with each step's parameters, and hands gradients on to them.
   *
   * @param fronts where what its frozen layers give is kept; absent: they are run each time
   */
  trained(encoder: Engine, fronts?: FeatureCache): MediaEncoder {
    /** Shapes of the encoder's output, by the size of the frame. */
    const shapes = new Map<string, readonly number[]>();
    const sizeOf = (ref: MediaRef, i: number): string => ref.frames[i]!.join();
    const states =
      fronts &&
      new FrontStates<{ readonly ref: MediaRef; readonly i: number; readonly length: 1 }>({
        engine: encoder,
        cache: fronts,
        batchOf: async ({ ref, i }) => ({ inputs: await this.inputs(ref, i) }),
        keyOf: ({ ref, i }) => `${ref.kind} ${ref.key}-${i}`,
      });
    /** Forward and backward see the same masks, other frames see others. */
    const batchOf = async (ref: MediaRef, i: number, seed: string | undefined): Promise<Batch> => {
      const front = await states?.of([{ ref, i, length: 1 }]);
      return {
        inputs: await this.inputs(ref, i),
        ...(front && { front }),
        ...(seed === undefined ? {} : { seed: `${seed} ${ref.key} ${i}` }),
      };
    };
    return {
      features: async (ref, parameters, seed) => {
        const features: Float32Array[] = [];
        for (const i of ref.frames.keys()) {
          const output = await encoder.forward(await batchOf(ref, i, seed), parameters);
          shapes.set(sizeOf(ref, i), output.shape);
          features.push(flat(output));
        }
        return features;
      },
      backward: async (ref, parameters, gradients, seed) => {
        const sums = new Map<string, Tensor>();
        for (const i of ref.frames.keys()) {
          const outputGradient = float32(shapes.get(sizeOf(ref, i))!, gradients[i]!);
          const batch = await batchOf(ref, i, seed);
          addAll(sums, (await encoder.backward(batch, parameters, outputGradient)).gradients);
        }
        return sums;
      },
    };
  }
}

/** Adds `more` to `sums`, which takes over tensors it does not have yet. All are F32. */
export function addAll(sums: Map<string, Tensor>, more: TensorSet): void {
  for (const [name, tensor] of more) {
    const sum = sums.get(name)?.data as Float32Array | undefined;
    const data = tensor.data as Float32Array;
    if (sum === undefined) sums.set(name, { ...tensor, data: data.slice() });
    else for (let i = 0; i < sum.length; i++) sum[i]! += data[i]!;
  }
}

/** Features are F32 or narrower. */
const flat = (output: Tensor): Float32Array => floats(output) as Float32Array;

const NOUN: Readonly<Record<MediaKind, string>> = { image: "image", audio: "sound" };

function frameInputs(family: Processor["family"], { width, height, pixels }: Frame): TensorSet {
  if (family === "spectrogram") return new Map([["input_features", float32([1, height, width], pixels)]]);
  if (family === "plain") return new Map([["pixel_values", float32([1, 3, height, width], pixels)]]);
  const mask = new Uint8Array(width * height).fill(1);
  return new Map<string, Tensor>([
    ["pixel_attention_mask", { dtype: "BOOL", shape: [1, 1, height, width], data: mask }],
    ["pixel_values", float32([1, 1, 3, height, width], pixels)],
  ]);
}
