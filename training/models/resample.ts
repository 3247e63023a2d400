/**
 * Resizing of 8-bit pictures to the bit as Pillow does it, because image processors are defined by it: the
 * same picture must give the same pixels here and where the base model was trained.
 *
 * Two passes, columns then rows, each a weighted sum with 22-bit fixed-point weights and 8 bits in between.
 * Shrinking widens the filter by the scale (antialiasing). A pass that changes nothing is left out.
 *
 * Source: Pillow's documentation of resampling filters, https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters
 */

/** A picture of 8-bit samples, rows top to bottom, channels interleaved. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

interface Filter {
  /** Half the width in source pixels at scale 1. */
  readonly support: number;
  weight(x: number): number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
/** Keys' cubic parameter. */
const A = -0.5;

const box: Filter = { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) };
const bilinear: Filter = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };
const hamming: Filter = {
  support: 1,
  weight: (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x))),
};
const bicubic: Filter = {
  support: 2,
  weight(x) {
    const d = Math.abs(x);
    if (d < 1) return ((A + 2) * d - (A + 3)) * d * d + 1;
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * A : 0;
  },
};
const lanczos: Filter = { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) };

/** By the codes of PIL.Image.Resampling, which preprocessor_config.json's `resample` holds. */
const FILTERS: readonly (Filter | "nearest")[] = ["nearest", lanczos, bilinear, bicubic, box, hamming];

/** Fraction bits of a weight: 32 less 8 of the sample and 2 of headroom for negative lobes. */
const PRECISION_BITS = 22;

export function isResampleCode(code: number): boolean {
  return FILTERS[code] !== undefined;
}

/** @param resample code of PIL.Image.Resampling: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming */
export function resize(picture: Picture, width: number, height: number, resample: number): Picture {
  const filter = FILTERS[resample];
  if (filter === undefined) throw new RangeError(`Resample codes are 0 to 5, got ${resample}`);
  if (width === picture.width && height === picture.height) return picture;
  if (filter === "nearest") return resizeNearest(picture, width, height);
  const across = width === picture.width ? picture : resizeColumns(picture, width, filter);
  return height === picture.height ? across : resizeRows(across, height, filter);
}

/** Weights of one output position over the source positions from `first` on. */
interface Taps {
  readonly first: number;
  readonly weights: Int32Array;
}

function tapsOf(from: number, to: number, filter: Filter): Taps[] {
  const scale = from / to;
  const widened = Math.max(1, scale);
  const support = filter.support * widened;
  return Array.from({ length: to }, (_, position) => {
    const center = (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(from, Math.trunc(center + support + 0.5));
    const exact = Array.from({ length: end - first }, (_, i) =>
      filter.weight((i + first - center + 0.5) * (1 / widened)),
    );
    const sum = exact.reduce((total, weight) => total + weight, 0);
    const weights = Int32Array.from(exact, (weight) => {
      const scaled = (sum === 0 ? weight : weight / sum) * 2 ** PRECISION_BITS;
      return Math.trunc(scaled + (weight / (sum || 1) < 0 ? -0.5 : 0.5));
    });
    return { first, weights };
  });
}

const toSample = (sum: number): number => Math.min(255, Math.max(0, sum >> PRECISION_BITS));
const HALF = 2 ** (PRECISION_BITS - 1);

function resizeColumns({ width, height, channels, data }: Picture, to: number, filter: Filter): Picture {
  const taps = tapsOf(width, to, filter);
  const out = new Uint8Array(to * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      const { first, weights } = taps[x]!;
      for (let c = 0; c < channels; c++) {
        let sum = HALF;
        let at = (y * width + first) * channels + c;
        for (let i = 0; i < weights.length; i++, at += channels) sum += data[at]! * weights[i]!;
        out[(y * to + x) * channels + c] = toSample(sum);
      }
    }
  }
  return { width: to, height, channels, data: out };
}

function resizeRows({ width, height, channels, data }: Picture, to: number, filter: Filter): Picture {
  const taps = tapsOf(height, to, filter);
  const stride = width * channels;
  const out = new Uint8Array(stride * to);
  for (let y = 0; y < to; y++) {
    const { first, weights } = taps[y]!;
    for (let column = 0; column < stride; column++) {
      let sum = HALF;
      let at = first * stride + column;
      for (let i = 0; i < weights.length; i++, at += stride) sum += data[at]! * weights[i]!;
      out[y * stride + column] = toSample(sum);
    }
  }
  return { width, height: to, channels, data: out };
}

function resizeNearest(
  { width, height, channels, data }: Picture,
  toWidth: number,
  toHeight: number,
): Picture {
  const out = new Uint8Array(toWidth * toHeight * channels);
  const columns = nearestOf(width, toWidth);
  const rows = nearestOf(height, toHeight);
  let at = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = (row * width + column) * channels;
      for (let c = 0; c < channels; c++) out[at++] = data[from + c]!;
    }
  }
  return { width: toWidth, height: toHeight, channels, data: out };
}

/** The position is summed up, not multiplied: Pillow's rounding is part of the result. */
function nearestOf(from: number, to: number): number[] {
  let position = (from / to) * 0.5;
  return Array.from({ length: to }, () => {
    const nearest = Math.trunc(position);
    position += from / to;
    return nearest;
  });
}

/** A part of a picture; where it reaches beyond the picture it is black. */
export function crop(picture: Picture, left: number, top: number, width: number, height: number): Picture {
  const { channels } = picture;
  const data = new Uint8Array(width * height * channels);
  const from = Math.max(0, -left);
  const to = Math.min(width, picture.width - left);
  for (let y = Math.max(0, -top); y < Math.min(height, picture.height - top) && from < to; y++) {
    const start = ((y + top) * picture.width + left + from) * channels;
    data.set(picture.data.subarray(start, start + (to - from) * channels), (y * width + from) * channels);
  }
  return { width, height, channels, data };
}
