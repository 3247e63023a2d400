/**
 * What a run tells about one client, as ε for a δ, together with what that number assumes.
 *
 * The unit is a client: all its examples, in all rounds. Updates are clipped to C, summed (or averaged over a number
 * that does not depend on the data) and given Gaussian noise once, by a coordinator that is trusted with the single
 * updates. What else leaves a client (metrics, example counts, which modalities it holds) is not covered.
 */
import { composedSigma, gaussianEpsilon } from "./analytic-gaussian.ts";
import { bisect } from "./bisect.ts";
import { fixedSizeGaussianDivergences } from "./fixed-size-gaussian.ts";
import { poissonGaussianDivergence } from "./poisson-gaussian.ts";
import { epsilonOf, ORDERS } from "./renyi-orders.ts";

/** How the clients of a round are chosen. */
export type Sampling =
  /** Each client with this probability, independently: neighbors differ by a client added or removed. */
  | { readonly kind: "poisson"; readonly rate: number }
  /** So many of the population, without replacement: neighbors differ by a client replaced. */
  | { readonly kind: "fixed-size"; readonly population: number; readonly sample: number };

/** Rounds of one kind. */
export interface NoisyRounds {
  readonly sampling: Sampling;
  /** Noise standard deviation of the sum / its sensitivity: C for a client added or removed, 2C for one replaced. */
  readonly noiseMultiplier: number;
  readonly count: number;
}

export interface Guarantee {
  readonly epsilon: number;
  readonly delta: number;
  readonly unit: "client";
  readonly neighbors: "add or remove one" | "replace one";
  readonly sampling: "everybody" | "poisson" | "fixed-size without replacement";
  readonly method: "analytic Gaussian (exact)" | "Rényi (upper bound)";
  /** The order that gave ε; at an end of the list a longer list would give less. */
  readonly order?: number;
}

/** @throws RangeError for parameters out of range, and for rounds whose neighbors differ: their numbers do not add up */
export function guaranteeOf(rounds: readonly NoisyRounds[], delta: number): Guarantee {
  if (!(delta > 0 && delta < 1)) throw new RangeError(`A δ lies between 0 and 1, got ${delta}`);
  for (const part of rounds) requireValid(part);
  const kinds = new Set(rounds.map(({ sampling }) => sampling.kind));
  if (kinds.size > 1) {
    throw new RangeError(
      "Rounds with Poisson and with fixed-size sampling have other neighbors and do not add up",
    );
  }
  const fixedSize = kinds.has("fixed-size");
  if (!fixedSize && rounds.every(({ sampling }) => sampling.kind === "poisson" && sampling.rate === 1)) {
    const sigmas = rounds.map(({ noiseMultiplier, count }) => noiseMultiplier / Math.sqrt(count));
    const epsilon = rounds.length === 0 ? 0 : gaussianEpsilon(composedSigma(sigmas), delta);
    return {
      epsilon,
      delta,
      unit: "client",
      neighbors: "add or remove one",
      sampling: "everybody",
      method: "analytic Gaussian (exact)",
    };
  }
  const { epsilon, order } = epsilonOf(divergencesOf(rounds), delta);
  return {
    epsilon,
    delta,
    unit: "client",
    neighbors: fixedSize ? "replace one" : "add or remove one",
    sampling: fixedSize ? "fixed-size without replacement" : "poisson",
    method: "Rényi (upper bound)",
    order,
  };
}

/** Rényi divergences of all rounds together, at ORDERS. */
export function divergencesOf(rounds: readonly NoisyRounds[]): number[] {
  const sum = new Array<number>(ORDERS.length).fill(0);
  for (const { sampling, noiseMultiplier, count } of rounds) {
    if (count === 0) continue;
    const one =
      sampling.kind === "poisson"
        ? ORDERS.map((order) => poissonGaussianDivergence(sampling.rate, noiseMultiplier, order))
        : fixedSizeGaussianDivergences(sampling.population, sampling.sample, noiseMultiplier, ORDERS);
    for (const [i, divergence] of one.entries()) sum[i]! += count * divergence;
  }
  return sum;
}

/**
 * The smallest noise multiplier, to 1e-7 relative, that keeps a run of `count` rounds within (ε, δ).
 *
 * Exact where everybody takes part; elsewhere by the Rényi bound, so that a tighter accountant would allow less noise.
 */
export function calibrate(sampling: Sampling, count: number, epsilon: number, delta: number): number {
  if (!(epsilon > 0)) throw new RangeError(`An ε to calibrate for is positive, got ${epsilon}`);
  const keeps = (noiseMultiplier: number) =>
    guaranteeOf([{ sampling, noiseMultiplier, count }], delta).epsilon <= epsilon;
  return bisect((sigma) => sigma > SMALLEST_NOISE && keeps(sigma), SMALLEST_NOISE, 1e-7);
}

/** Below this the divergences leave what is of use to anybody: ε is in the hundreds. */
const SMALLEST_NOISE = 0.05;

function requireValid({ sampling, noiseMultiplier, count }: NoisyRounds): void {
  if (!(noiseMultiplier >= SMALLEST_NOISE && noiseMultiplier < Number.POSITIVE_INFINITY)) {
    throw new RangeError(`A noise multiplier is at least ${SMALLEST_NOISE}, got ${noiseMultiplier}`);
  }
  if (!Number.isInteger(count) || count < 0)
    throw new RangeError(`A number of rounds is a whole number, got ${count}`);
  if (sampling.kind === "poisson") {
    if (!(sampling.rate >= 0 && sampling.rate <= 1))
      throw new RangeError(`A rate lies in [0, 1], got ${sampling.rate}`);
    return;
  }
  const { population, sample } = sampling;
  if (!Number.isInteger(population) || !Number.isInteger(sample) || sample < 1 || sample > population) {
    throw new RangeError(`A sample is 1 to ${population} of the population, got ${sample}`);
  }
}
