/**
 * Images of examples to what a decoder takes of them: their grid of frames, which the prompt's tokens follow,
 * and the vision encoder's features. An image is decoded and encoded once, whatever examples share it.
 */
import { floats } from "../adapters/cast.ts";
import type { Tensor, TensorSet } from "../adapters/tensor.ts";
import { sha256 } from "../base/hash.ts";
import type { Media } from "../data/example.ts";
import type { FeatureCache } from "./feature-cache.ts";
import type { Frame, ImageProcessor } from "./models/image-processor.ts";
import type { ImageGrid } from "./models/image-tokens.ts";
import { readMedia } from "./models/picture.ts";
import type { Engine } from "./onnx/engine.ts";

export interface ImageRef extends ImageGrid {
  /** SHA-256 of the file. */
  readonly key: string;
  readonly frames: number;
}

export class Images {
  readonly #processor: ImageProcessor;
  readonly #cache: FeatureCache;
  readonly #known = new WeakMap<Media, ImageRef>();
  readonly #byKey = new Map<string, ImageRef>();
  readonly #encoder: Engine;

  /** @param encoder engine of the vision encoder without LoRA */
  constructor(processor: ImageProcessor, encoder: Engine, cache: FeatureCache) {
    this.#processor = processor;
    this.#encoder = encoder;
    this.#cache = cache;
  }

  /** Decodes and encodes an image unless it was met before. @throws FedloomError F2131 where it is none */
  async open(media: Media): Promise<ImageRef> {
    const met = this.#known.get(media);
    if (met !== undefined) return met;
    const bytes = await readMedia(media);
    const key = sha256(bytes);
    let ref = this.#byKey.get(key);
    if (ref === undefined) {
      const { frames, rows, columns } = await this.#processor.process(bytes, media.name);
      ref = { key, rows, columns, frames: frames.length };
      for (const [i, frame] of frames.entries())
        await this.#cache.put(`${key}-${i}`, await this.#encode(frame));
      this.#byKey.set(key, ref);
    }
    this.#known.set(media, ref);
    return ref;
  }

  /** Feature rows of an opened image, frame after frame, each [tokens, hidden] flat. */
  async features(ref: ImageRef): Promise<Float32Array[]> {
    return Promise.all(
      Array.from({ length: ref.frames }, async (_, i) => {
        const features = await this.#cache.get(`${ref.key}-${i}`);
        if (features === undefined) throw new TypeError(`Image ${ref.key} was not opened`);
        return features;
      }),
    );
  }

  async #encode(frame: Frame): Promise<Float32Array> {
    const output = await this.#encoder.forward(
      { inputs: frameInputs(this.#processor.family, frame) },
      new Map(),
    );
    return floats(output) as Float32Array; // features are F32 or narrower
  }
}

/** What a vision encoder takes for one frame. */
export function frameInputs(family: ImageProcessor["family"], { width, height, pixels }: Frame): TensorSet {
  const shape = family === "plain" ? [1, 3, height, width] : [1, 1, 3, height, width];
  const inputs: [string, Tensor][] = [["pixel_values", { dtype: "F32", shape, data: pixels }]];
  if (family !== "plain") {
    const mask = new Uint8Array(width * height).fill(1);
    inputs.unshift(["pixel_attention_mask", { dtype: "BOOL", shape: [1, 1, height, width], data: mask }]);
  }
  return new Map(inputs);
}
