/**
 * How SmolVLM and Idefics3 cut a picture: scaled so that its longest edge is `longestEdge`, then stretched so
 * that both edges are multiples of the tile's, then cut into tiles; the whole picture, shrunk to one tile, comes
 * last. A picture of one tile stays whole. Without splitting it becomes one square tile.
 */
import { crop, type Picture, resize } from "./resample.ts";

/** No edge is longer than this after scaling, whatever the file says; the processors have the same bound. */
const MAX_EDGE = 4096;

export interface TileSettings {
  /** Undefined: the picture keeps its size before it is stretched. */
  readonly longestEdge: number | undefined;
  readonly tileEdge: number;
  readonly split: boolean;
  /** Code of PIL.Image.Resampling. */
  readonly resample: number;
}

export function splitIntoTiles(
  original: Picture,
  { longestEdge, tileEdge, split, resample }: TileSettings,
): { frames: Picture[]; rows: number; columns: number } {
  const scaled = longestEdge === undefined ? original : scaleToEdge(original, longestEdge, resample);
  if (!split) return { frames: [resize(scaled, tileEdge, tileEdge, resample)], rows: 0, columns: 0 };
  const picture = stretchToTiles(scaled, tileEdge, resample);
  const columns = Math.ceil(picture.width / tileEdge);
  const rows = Math.ceil(picture.height / tileEdge);
  if (rows === 1 && columns === 1) return { frames: [picture], rows: 0, columns: 0 };
  const frames: Picture[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      frames.push(crop(picture, column * tileEdge, row * tileEdge, tileEdge, tileEdge));
    }
  }
  frames.push(resize(picture, tileEdge, tileEdge, resample));
  return { frames, rows, columns };
}

function scaleToEdge(picture: Picture, longestEdge: number, resample: number): Picture {
  let { width, height } = picture;
  const aspect = width / height;
  if (width >= height) {
    width = longestEdge;
    height = even(Math.trunc(width / aspect));
  } else {
    height = longestEdge;
    width = even(Math.trunc(height * aspect));
  }
  width = Math.max(1, width);
  height = Math.max(1, height);
  const bounded = width / height;
  if (width >= height && width > MAX_EDGE) {
    width = MAX_EDGE;
    height = Math.max(1, Math.trunc(width / bounded));
  } else if (height > width && height > MAX_EDGE) {
    height = MAX_EDGE;
    width = Math.max(1, Math.trunc(height * bounded));
  }
  return resize(picture, width, height, resample);
}

function stretchToTiles(picture: Picture, tileEdge: number, resample: number): Picture {
  let { width, height } = picture;
  const aspect = width / height;
  const toTiles = (length: number): number => Math.ceil(length / tileEdge) * tileEdge;
  if (width >= height) {
    width = toTiles(width);
    height = toTiles(Math.trunc(width / aspect));
  } else {
    height = toTiles(height);
    width = toTiles(Math.trunc(height * aspect));
  }
  return resize(picture, width, height, resample);
}

const even = (length: number): number => length + (length % 2);
