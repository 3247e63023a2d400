/**
 * A sound at another rate, band-limited: each new sample is a sum over the old ones around it, weighted by a sinc
 * whose cutoff lies below both rates' Nyquist frequencies, under a Kaiser window.
 *
 * Source: Smith 2002, Digital Audio Resampling, https://ccrma.stanford.edu/~jos/resample/
 */
import type { Sound } from "./wav.ts";

/** Zero crossings on either side: the band between pass and stop is about a tenth of the bandwidth. */
const CROSSINGS = 32;
/** Cutoff as a share of the lower Nyquist frequency: what folds back lies in the stop band. */
const CUTOFF = 0.93;
/** Kaiser's beta: the stop band lies about 100 dB below. */
const BETA = 10;
/** Sets of weights that are kept; rates without a large common divisor have more, and compute each anew. */
const MAX_KEPT = 1024;

/** @returns ceil(length * rate / sound.rate) samples, the first at the time of the sound's first */
export function atRate(sound: Sound, rate: number): Float32Array {
  if (sound.rate === rate) return sound.samples;
  const { samples } = sound;
  const divisor = gcd(sound.rate, rate);
  const [down, up] = [sound.rate / divisor, rate / divisor];
  const cutoff = CUTOFF * Math.min(1, rate / sound.rate);
  const reach = Math.ceil(CROSSINGS / cutoff);
  const kept = new Map<number, Float64Array>();
  /** Weights of the samples at -reach + 1 to reach around a time `phase / up` behind a sample. */
  const weightsAt = (phase: number): Float64Array => {
    const there = kept.get(phase);
    if (there !== undefined) return there;
    const weights = Float64Array.from({ length: 2 * reach }, (_, i) => {
      const distance = i - reach + 1 - phase / up;
      return sinc(cutoff * distance) * kaiser(distance / reach);
    });
    const sum = weights.reduce((total, weight) => total + weight, 0);
    for (let i = 0; i < weights.length; i++) weights[i]! /= sum; // a constant stays what it is
    if (up <= MAX_KEPT) kept.set(phase, weights);
    return weights;
  };
  return Float32Array.from({ length: Math.ceil((samples.length * up) / down) }, (_, n) => {
    const weights = weightsAt((n * down) % up);
    const first = Math.floor((n * down) / up) - reach + 1;
    let sum = 0;
    const end = Math.min(weights.length, samples.length - first);
    for (let i = Math.max(0, -first); i < end; i++) sum += weights[i]! * samples[first + i]!;
    return sum;
  });
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** @param x in -1 to 1 of the window's half width, zero outside */
const kaiser = (x: number): number =>
  Math.abs(x) >= 1 ? 0 : bessel(BETA * Math.sqrt(1 - x * x)) / bessel(BETA);

/** The modified Bessel function I0 by its power series. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-12; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
