import { z } from "zod";
import type { Adapter } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import type { Tensor } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import type { Rng } from "../../base/rng.ts";
import { differenceNorms, differenceOf } from "../differences.ts";
import { clipFactor } from "../strategies/norm-clipping.ts";
import { defineWrapper, type Updates } from "../strategy.ts";
import { meanOf } from "../weighted-mean.ts";
import { sum } from "../weights.ts";
import { takeOwn, withOwn } from "../wrapped-state.ts";

/**
 * Clips each client's change to a norm before the strategy sees it; with a noise multiplier, hands on one noisy
 * mean instead of single updates.
 *
 *   d_k ← d_k min(1, C/||d_k||)      over all tensors together; 0 stays 0
 *   adaptive   C ← C exp(−η (b − γ))   b: share of updates with ||d_k|| ≤ C, plus noise
 *   noise      d = mean_k d_k + N(0, (z C / n)²)   plain mean: an example-weighted one has another sensitivity
 *
 * The noise is drawn from the run's seed, so that a round replays: whoever knows the seed can take it off again. It
 * measures what privacy would cost and promises none by itself; privacy/ has noise from a secret, and accounting.
 *
 * Preset flower-adaptive takes the share that was clipped for b, as Flower 1.41 does: C then moves in the wrong
 * direction.
 *
 * Source: McMahan et al. 2018, Algorithm 1, https://arxiv.org/abs/1710.06963; adaptive: Andrew et al. 2021,
 * Algorithm 1, https://arxiv.org/abs/1905.03871
 */
export const clip = defineWrapper({
  name: "clip",
  needs: (inner, { noiseMultiplier }) => {
    if (noiseMultiplier > 0 && inner.readsSingleUpdates) {
      throw new FedloomError(
        "F3112",
        "Cannot add noise around this strategy: it reads single updates, and noise leaves one mean of them",
      );
    }
    if (inner.prunesRanks === true) {
      throw new FedloomError(
        "F3112",
        "Cannot clip around this strategy: its clients prune their ranks, and changes are measured between factors of one rank; set the strategy's keep to 1",
      );
    }
    return { ...inner, separable: "adapter", heterogeneousRanks: false };
  },
  config: z.strictObject({
    norm: z.number().positive().default(1).describe("C, or where an adaptive C starts"),
    adaptive: z
      .strictObject({
        target: z
          .number()
          .min(0)
          .max(1)
          .default(0.5)
          .describe("γ, the share of updates that stays unclipped"),
        learningRate: z.number().positive().default(0.2).describe("η"),
        share: z.enum(["unclipped", "clipped"]).default("unclipped").describe("b; clipped is Flower's"),
        countNoise: z
          .number()
          .min(0)
          .default(0)
          .describe("standard deviation of the noise on the number in b"),
      })
      .optional()
      .describe("lets C follow the updates' norms"),
    noiseMultiplier: z
      .number()
      .min(0)
      .default(0)
      .describe("z; the mean gets noise of standard deviation z C / n"),
  }),
  presets: {
    paper: {},
    adaptive: { adaptive: {} },
    "flower-adaptive": { adaptive: { share: "clipped" } },
  },
  wrap:
    ({ norm: initial, adaptive, noiseMultiplier }) =>
    (inner) => ({
      ...inner,
      init: (global) => withOwn("clip", { scalars: { norm: initial }, tensors: {} }, inner.init(global)),
      ...(inner.plan !== undefined && {
        plan: (state, context) => inner.plan!(takeOwn("clip", state).inner, context),
      }),
      aggregate(state, context, updates) {
        const { own, inner: innerState } = takeOwn("clip", state);
        const norm = own.scalars.norm!;
        const lengths = differenceNorms(updates, context.global.tensors);
        const clipped = clippedUpdates(
          context.global,
          updates,
          lengths.map((length) => clipFactor(length, norm)),
        );
        const std = (noiseMultiplier * norm) / lengths.length;
        const seen =
          noiseMultiplier > 0 ? noisyMean(context.global, clipped, std, context.rng.fork("clip")) : clipped;
        const result = inner.aggregate(innerState, context, seen);
        const over = lengths.filter((length) => length > norm).length;
        const next =
          adaptive === undefined ? norm : adapted(norm, over, lengths.length, adaptive, context.rng);
        return {
          ...result,
          state: withOwn("clip", { scalars: { norm: next }, tensors: {} }, result.state),
          report: { ...result.report, clipNorm: norm, clipped: over },
        };
      },
    }),
});

interface Adaptive {
  readonly target: number;
  readonly learningRate: number;
  readonly share: "unclipped" | "clipped";
  readonly countNoise: number;
}

function adapted(norm: number, over: number, count: number, options: Adaptive, rng: Rng): number {
  const counted = options.share === "unclipped" ? count - over : over;
  const noise = options.countNoise === 0 ? 0 : options.countNoise * rng.fork("clip-count").normal();
  return norm * Math.exp(-options.learningRate * ((counted + noise) / count - options.target));
}

/** The updates with each change scaled by its factor, made tensor by tensor as they are read. */
function clippedUpdates(global: Adapter, updates: Updates, factors: readonly number[]): Updates {
  const { slice: _unclipped, ...whole } = updates;
  return {
    ...whole,
    tensor(client, name) {
      const factor = factors[client]!;
      const old = global.tensors.get(name);
      const sent = updates.tensor(client, name);
      if (factor === 1 || sent === undefined || old === undefined) return sent;
      const start = floats(updates.base?.(client, name) ?? old);
      const values = differenceOf(updates, client, name, old)!;
      for (let i = 0; i < values.length; i++) values[i] = start[i]! + factor * values[i]!;
      return { dtype: "F64", shape: sent.shape, data: values };
    },
  };
}

/** One update, w + mean d_k + noise, in place of all: what a strategy may see that reads no single ones. */
function noisyMean(global: Adapter, updates: Updates, std: number, rng: Rng): Updates {
  const uniform = updates.clients.map(() => 1);
  const total = (count: (k: number) => number) => sum(updates.clients.map((_, k) => count(k)));
  const noisy = (name: string): Tensor | undefined => {
    const mean = meanOf(updates, name, uniform);
    if (mean === undefined) return undefined;
    const chance = rng.fork(name);
    for (let i = 0; i < mean.length; i++) mean[i] = mean[i]! + std * chance.normal();
    return { dtype: "F64", shape: global.tensors.get(name)!.shape, data: mean };
  };
  const info = {
    client: "mean",
    examples: total((k) => updates.clients[k]!.examples),
    steps: total((k) => updates.clients[k]!.steps),
    tokens: total((k) => updates.clients[k]!.tokens ?? 0),
    touched: {},
    metrics: {},
    adapter: global.config,
  };
  return {
    clients: [info],
    names: updates.names,
    has: (_, name) => updates.names.includes(name),
    shape: (_, name) => global.tensors.get(name)!.shape,
    tensor: (_, name) => noisy(name),
    extra: () => undefined,
  };
}
