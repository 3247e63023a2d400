/**
 * The log-mel spectrogram that Whisper's encoder and its kin were trained on: power of a Hann-windowed short-time
 * Fourier transform, mel filters of Slaney's form up to 8 kHz, log10 clamped to eight decades below the loudest,
 * (x + 4) / 4.
 *
 * Source: Radford et al. 2022, §2.2, https://arxiv.org/abs/2212.04356; Slaney 1998, Auditory Toolbox
 */

export interface MelSettings {
  /** Mel filters. */
  readonly bins: number;
  /** Samples a second. */
  readonly rate: number;
  /** Samples from one window to the next. */
  readonly hop: number;
  /** Samples of a window. */
  readonly window: number;
}

/** Upper end of the filters in Hz, whatever the rate; the extractors have it fixed. */
const TOP_HZ = 8000;
const FLOOR = 1e-10;
const DECADES = 8;

/** @returns [bins, floor(samples / hop)] flat */
export type LogMel = (samples: Float32Array) => Float32Array;

/** @param settings windows are read around each hop, the sound mirrored at its ends: it must be longer than half of one */
export function logMel({ bins, rate, hop, window: size }: MelSettings): LogMel {
  const filters = melFilters(bins, 1 + Math.floor(size / 2), rate);
  const powerOf = powerSpectrum(size);
  return (samples) => {
    const count = Math.floor(samples.length / hop);
    const out = new Float32Array(bins * count);
    const frame = new Float64Array(size);
    const silent = Math.log10(FLOOR);
    let loudest = silent;
    for (let t = 0; t < count; t++) {
      const from = t * hop - Math.floor(size / 2);
      for (let i = 0; i < size; i++) frame[i] = samples[mirrored(from + i, samples.length)]!;
      const power = frame.some((sample) => sample !== 0) ? powerOf(frame) : undefined; // most of a padded sound
      filters.forEach(({ first, weights }, m) => {
        let sum = 0;
        if (power !== undefined)
          for (let k = 0; k < weights.length; k++) sum += weights[k]! * power[first + k]!;
        const value = Math.log10(Math.max(sum, FLOOR));
        out[m * count + t] = value;
        if (value > loudest) loudest = value;
      });
    }
    for (let i = 0; i < out.length; i++) out[i] = (Math.max(out[i]!, loudest - DECADES) + 4) / 4;
    return out;
  };
}

/** Index inside 0 to length - 1, mirrored at the ends, which are not repeated. */
function mirrored(i: number, length: number): number {
  if (i < 0) return -i;
  return i < length ? i : 2 * (length - 1) - i;
}

/**
 * |DFT|² of a windowed frame at bins 0 to size / 2. Real input: what is even and odd about sample 0 is folded
 * first, which halves the products.
 */
function powerSpectrum(size: number): (frame: Float64Array) => Float64Array {
  const hann = Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
  const cosines = Float64Array.from({ length: size }, (_, i) => Math.cos((2 * Math.PI * i) / size));
  const sines = Float64Array.from({ length: size }, (_, i) => Math.sin((2 * Math.PI * i) / size));
  const half = Math.floor(size / 2);
  const power = new Float64Array(half + 1);
  const even = new Float64Array(half + 1);
  const odd = new Float64Array(half + 1);
  return (frame) => {
    for (let i = 0; i <= half; i++) {
      const a = frame[i]! * hann[i]!;
      const j = (size - i) % size;
      const b = i === j ? 0 : frame[j]! * hann[j]!;
      even[i] = a + b;
      odd[i] = a - b;
    }
    for (let k = 0; k <= half; k++) {
      let re = 0;
      let im = 0;
      for (let i = 0, angle = 0; i <= half; i++) {
        re += even[i]! * cosines[angle]!;
        im += odd[i]! * sines[angle]!;
        angle += k;
        if (angle >= size) angle -= size;
      }
      power[k] = re * re + im * im;
    }
    return power;
  };
}

interface Filter {
  /** Bin of the first weight. */
  readonly first: number;
  readonly weights: Float64Array;
}

/** Triangles between equal steps of mel, each of area 2 / (its width in Hz). */
function melFilters(count: number, frequencies: number, rate: number): Filter[] {
  const top = melOf(TOP_HZ);
  const edges = Array.from({ length: count + 2 }, (_, i) => hzOf((top * i) / (count + 1)));
  const step = rate / 2 / (frequencies - 1);
  return Array.from({ length: count }, (_, m) => {
    const [low, center, high] = [edges[m]!, edges[m + 1]!, edges[m + 2]!];
    const first = Math.min(frequencies, Math.ceil(low / step));
    const last = Math.min(frequencies - 1, Math.floor(high / step));
    const weights = Float64Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => {
      const hz = (first + i) * step;
      const slope = Math.min((hz - low) / (center - low), (high - hz) / (high - center));
      return (Math.max(0, slope) * 2) / (high - low);
    });
    return { first, weights };
  });
}

/** Slaney's scale: 3 mel for 200 Hz up to 1 kHz, above 27 mel for each factor 6.4. */
const melOf = (hz: number): number =>
  hz < 1000 ? (3 * hz) / 200 : 15 + (27 * Math.log(hz / 1000)) / Math.log(6.4);
const hzOf = (mel: number): number => (mel < 15 ? (200 * mel) / 3 : 1000 * 6.4 ** ((mel - 15) / 27));
