/** What a client counts by, and the three programs that are called FedAdam: published settings, two rounds by hand. */
import { describe, expect, test } from "vitest";
import type { AggregateResult } from "../../aggregators/strategy.ts";
import { adapter, aggregateOnce, plain, update } from "./small.ts";

const global = adapter({ a: [[0, 0]], b: [0] });
const at = (value: number) => ({ a: [[value, 2 * value]], b: [-value] });

describe("the axis weights", () => {
  const entries = [
    update("c1", 1, at(0), { steps: 6, tokens: 30 }),
    update("c2", 9, at(4), { steps: 2, tokens: 10 }),
  ];

  test.each([
    ["examples", 9 / 10],
    ["uniform", 1 / 2],
    ["sqrt", 3 / 4],
    ["tokens", 1 / 4],
    ["steps", 1 / 4],
  ])("%s: the second client counts for %f", (weights, share) => {
    for (const name of ["fedavg", "fedavgm", "fedit"]) {
      const out = plain(aggregateOnce({ name, weights }, global, entries).global.tensors);
      expect(out.a![0]).toBeCloseTo(4 * share, 14);
      expect(out.a![1]).toBeCloseTo(8 * share, 14);
      expect(out.b![0]).toBeCloseTo(-4 * share, 14);
    }
  });

  test("tokens of a client that counted none are refused by name", () => {
    const silent = [update("c1", 1, at(0)), update("c2", 9, at(4), { tokens: 10 })];
    expect(() => aggregateOnce({ name: "fedavg", weights: "tokens" }, global, silent)).toThrow(
      'Cannot weigh client "c1" by tokens: a positive count is wanted, got none',
    );
  });
});

describe("preset fedmllm: plain mean, m begins as Δ, v begins as τ² and is fed with m, no bias correction", () => {
  const TAU = 1e-3;
  const ETA = 1e-3;
  /** Clients around 1, then around 0.5: examples must not count. */
  const rounds = [
    [update("c1", 1, at(0.5)), update("c2", 99, at(1.5))],
    [update("c1", 50, at(0)), update("c2", 2, at(1))],
  ];
  const means = [1, 0.5];

  test.each([
    ["fedadam", (v: number, square: number) => 0.99 * v + 0.01 * square, true],
    ["fedyogi", (v: number, square: number) => v - 0.01 * square * Math.sign(v - square), true],
    ["fedadagrad", (v: number, square: number) => v + square, false],
  ] as const)("%s", (name, next, hasMomentum) => {
    let result: Pick<AggregateResult, "global"> & Partial<AggregateResult> = { global };
    let [w, m, v] = [0, 0, TAU * TAU];
    for (const [round, entries] of rounds.entries()) {
      result = aggregateOnce({ name, preset: "fedmllm" }, result.global, entries, {
        ...(result.state && { state: result.state }),
        round: round + 1,
      });
      const step = means[round]! - w;
      m = round === 0 || !hasMomentum ? step : 0.9 * m + 0.1 * step;
      v = next(v, m * m);
      w += (ETA * m) / (Math.sqrt(v) + TAU);
      expect(plain(result.global.tensors).a![0]).toBeCloseTo(w, 14);
    }
  });

  test("fedavgm alone counts by examples: v ← β v + (1 − β) Δ, and v = Δ in the first round", () => {
    const first = aggregateOnce({ name: "fedavgm", preset: "fedmllm" }, global, rounds[0]!);
    const once = (0.5 + 99 * 1.5) / 100;
    expect(plain(first.global.tensors).a![0]).toBeCloseTo(once, 14);
    const second = aggregateOnce({ name: "fedavgm", preset: "fedmllm" }, first.global, rounds[1]!, {
      state: first.state,
      round: 2,
    });
    expect(plain(second.global.tensors).a![0]).toBeCloseTo(once + 0.9 * once + 0.1 * (2 / 52 - once), 14);
  });
});
