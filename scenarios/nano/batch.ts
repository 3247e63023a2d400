/** Lessons as tensors for the graphs of pretraining. */
import { float32, type Tensor, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import type { Rng } from "../../base/rng.ts";
import { PICTURE_SIDE, paint, type Scan, type Scene } from "../../data/scenes/scene.ts";
import { NANO } from "./architecture.ts";
import { END, IMAGE, type Lesson, SPECIALS } from "./lesson.ts";

/** Normalization of pixels; the model's preprocessor_config.json says the same. */
export const IMAGE_MEAN = 0.3;
export const IMAGE_STD = 0.3;

/** What a label is that nothing is to be predicted at. */
export const NO_LABEL = -100n;

export interface Codec {
  encode(text: string): readonly number[];
}

export const idOf = (special: (typeof SPECIALS)[number]): number => SPECIALS.indexOf(special);
export const END_ID = idOf(END);

export interface EncodedLesson {
  readonly ids: readonly number[];
  /** The token itself where it is to be predicted, else -100. */
  readonly labels: readonly bigint[];
  readonly picture: Scene | Scan | undefined;
}

export function encodeLesson({ pieces, picture }: Lesson, codec: Codec): EncodedLesson {
  const ids: number[] = [];
  const labels: bigint[] = [];
  for (const { text, learned } of pieces) {
    for (const id of codec.encode(text)) {
      // One mark in the text, as many positions as the picture has features.
      const times = id === idOf(IMAGE) ? NANO.imageTokens : 1;
      for (let i = 0; i < times; i++) {
        ids.push(id);
        labels.push(learned ? BigInt(id) : NO_LABEL);
      }
    }
  }
  return { ids, labels, picture };
}

/** pixel_values [I, 3, 32, 32]; missing pictures are gray. */
export function pixelValues(pictures: readonly (Scene | Scan | undefined)[], rng: Rng): Tensor {
  const area = PICTURE_SIDE ** 2;
  const data = new Float32Array(pictures.length * 3 * area);
  pictures.forEach((picture, i) => {
    if (picture === undefined) return;
    const pixels = paint(picture, rng);
    for (let channel = 0; channel < 3; channel++) {
      for (let at = 0; at < area; at++) {
        const value = pixels[at * 3 + channel]! / 255;
        data[(i * 3 + channel) * area + at] = (value - IMAGE_MEAN) / IMAGE_STD;
      }
    }
  });
  return float32([pictures.length, 3, PICTURE_SIDE, PICTURE_SIDE], data);
}

/** Lengths are rounded up to this, so that few shapes come up and each has its session. */
const LENGTH_STEP = 16;

/** Inputs of the language graph but for the features, and the labels. */
export function languageBatch(lessons: readonly EncodedLesson[]): { inputs: TensorSet; labels: Tensor } {
  const longest = Math.max(...lessons.map(({ ids }) => ids.length));
  const length = Math.ceil(longest / LENGTH_STEP) * LENGTH_STEP;
  const size = lessons.length * length;
  const ids = new BigInt64Array(size);
  const mask = new BigInt64Array(size);
  const positions = new BigInt64Array(size);
  const labels = new BigInt64Array(size).fill(NO_LABEL);
  const rows = new BigInt64Array(lessons.length * NANO.imageTokens);
  lessons.forEach((lesson, b) => {
    let images = 0;
    lesson.ids.forEach((id, s) => {
      const at = b * length + s;
      ids[at] = BigInt(id);
      mask[at] = 1n;
      positions[at] = BigInt(s);
      labels[at] = lesson.labels[s]!;
      if (id === idOf(IMAGE)) rows[b * NANO.imageTokens + images++] = BigInt(at);
    });
    for (let i = images; i < NANO.imageTokens; i++) {
      const slot = b * NANO.imageTokens + i;
      rows[slot] = BigInt(size + slot);
    }
  });
  const shape = [lessons.length, length];
  return {
    inputs: tensorSet([
      ["input_ids", tensor("I64", shape, ids)],
      ["attention_mask", tensor("I64", shape, mask)],
      ["position_ids", tensor("I64", shape, positions)],
      ["image_rows", tensor("I64", [rows.length, 1], rows)],
    ]),
    labels: tensor("I64", shape, labels),
  };
}
