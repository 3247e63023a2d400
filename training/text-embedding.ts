/**
 * Rows of tokens as the vectors that a decoder takes: token embeddings, and features of pictures and sounds in the
 * places of their tokens, row after row, file after file, frame after frame.
 */
import { float32, type Tensor, type TensorSet } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";
import type { MediaEncoder, MediaRef } from "./media.ts";
import { MEDIA_KINDS, type MediaKind } from "./models/media-kind.ts";
import type { TextRow } from "./text-rows.ts";
import type { TokenEmbeddings } from "./token-embeddings.ts";

/** What stands before a decoder that takes embeddings. */
export interface Embedder {
  readonly embeddings: TokenEmbeddings;
  /** Without a kind that the model does not take. */
  readonly encoders: ReadonlyMap<MediaKind, { readonly encoder: MediaEncoder; readonly tokenId: number }>;
}

/** Where a file's features went: for each frame the positions of its rows in the flat [rows * length]. */
export interface Placement {
  readonly ref: MediaRef;
  readonly frames: readonly (readonly number[])[];
}

/** @returns embeds [rows, length, hidden], zero on padding */
export async function embed(
  { embeddings, encoders }: Embedder,
  rows: readonly TextRow[],
  length: number,
  parameters: TensorSet,
  seed?: string,
): Promise<{ embeds: Tensor; placements: Placement[] }> {
  await embeddings.load(
    rows.flatMap((row) => [...row.ids]),
    parameters,
  );
  const hidden = embeddings.row(rows[0]!.ids[0]!).length;
  const data = new Float32Array(rows.length * length * hidden);
  const placements: Placement[] = [];
  for (const [r, row] of rows.entries()) {
    row.ids.forEach((id, i) => {
      data.set(embeddings.row(id), (r * length + i) * hidden);
    });
    for (const kind of MEDIA_KINDS) {
      const refs = row.media.filter((ref) => ref.kind === kind);
      if (refs.length === 0) continue;
      const { encoder, tokenId } = encoders.get(kind)!; // a row with media was made by a model that takes them
      const files: { ref: MediaRef; features: Float32Array[] }[] = [];
      for (const ref of refs) files.push({ ref, features: await encoder.features(ref, parameters, seed) });
      const places = placesOf(row.ids, tokenId, r * length);
      const given = files.flatMap(({ features }) => features).reduce((sum, f) => sum + f.length / hidden, 0);
      if (given !== places.length) {
        throw new FedloomError(
          "F2139",
          `Cannot use example "${row.id}": its prompt has ${places.length} ${kind} tokens, the ${kind === "image" ? "vision" : kind} encoder gives ${given} features`,
          { example: row.id },
        );
      }
      let next = 0;
      for (const { ref, features } of files) {
        const frames = features.map((frame) => {
          const from = next;
          next += frame.length / hidden;
          return places.slice(from, next);
        });
        placements.push({ ref, frames });
        frames.forEach((positions, f) => {
          positions.forEach((position, i) => {
            data.set(features[f]!.subarray(i * hidden, (i + 1) * hidden), position * hidden);
          });
        });
      }
    }
  }
  return { embeds: float32([rows.length, length, hidden], data), placements };
}

/**
 * The gradient of each token's embedding, summed over the places where the token stands. Where media stand, their tokens
 * do not.
 *
 * @param embedded gradient of what `embed` gave
 */
export function tokenGradients(
  embedded: Tensor,
  rows: readonly TextRow[],
  placements: readonly Placement[],
): ReadonlyMap<number, Float32Array> {
  const [, length, hidden] = embedded.shape as [number, number, number];
  const data = embedded.data as Float32Array; // gradients are F32
  const taken = new Set(placements.flatMap(({ frames }) => frames.flat()));
  const sums = new Map<number, Float32Array>();
  rows.forEach(({ ids }, r) => {
    ids.forEach((id, i) => {
      const at = r * length + i;
      if (taken.has(at)) return;
      const sum = sums.get(id) ?? new Float32Array(hidden);
      sums.set(id, sum);
      for (let j = 0; j < hidden; j++) sum[j]! += data[at * hidden + j]!;
    });
  });
  return sums;
}

/** The gradient of each frame's features. @param embedded gradient of what `embed` gave */
export function mediaGradients(embedded: Tensor, { frames }: Placement): Float32Array[] {
  const hidden = embedded.shape.at(-1)!;
  const data = embedded.data as Float32Array; // gradients are F32
  return frames.map((positions) => {
    const gradient = new Float32Array(positions.length * hidden);
    positions.forEach((position, i) => {
      gradient.set(data.subarray(position * hidden, (position + 1) * hidden), i * hidden);
    });
    return gradient;
  });
}

function placesOf(ids: Int32Array, token: number, offset: number): number[] {
  const places: number[] = [];
  ids.forEach((id, i) => {
    if (id === token) places.push(offset + i);
  });
  return places;
}
