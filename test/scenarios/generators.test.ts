import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { createRng } from "../../base/rng.ts";
import type { Example } from "../../data/example.ts";
import { apportion } from "../../scenarios/generators/assignment.ts";
import {
  dealDirichlet,
  dealIid,
  dealLabelShards,
  dealNaturally,
  dealQuantities,
} from "../../scenarios/generators/dealers.ts";
import { chooseClients, dealDevices, drawAvailability } from "../../scenarios/generators/fleet-traits.ts";
import { dirichlet, gamma } from "../../scenarios/generators/gamma.ts";
import { withLabelNoise } from "../../scenarios/generators/label-noise.ts";
import { keepOf } from "../../scenarios/generators/modalities.ts";
import { poisonedUpdate } from "../../scenarios/generators/poisoned-update.ts";

const rng = () => createRng("test");
const labelsOf = (counts: readonly number[]): string[] =>
  counts.flatMap((count, label) => new Array<string>(count).fill(`l${label}`));

const DEALERS = {
  iid: (labels: string[], clients: number) => dealIid(labels, { clients }, rng()),
  dirichlet: (labels: string[], clients: number) => dealDirichlet(labels, { clients, alpha: 0.1 }, rng()),
  quantity: (labels: string[], clients: number) => dealQuantities(labels, { clients, alpha: 0.1 }, rng()),
  "label-shards": (labels: string[], clients: number) =>
    dealLabelShards(labels, { clients, shardsPerClient: 1 }, rng()),
};

describe.each(Object.entries(DEALERS))("the dealer %s", (_, deal) => {
  test("deals each example once and leaves no client empty, whatever the labels", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(9), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 7 }),
        (counts, clients) => {
          const labels = labelsOf(counts);
          fc.pre(labels.length >= clients);
          const dealt = deal(labels, clients);
          expect(dealt).toHaveLength(clients);
          expect(dealt.flat().sort((a, b) => a - b)).toEqual(labels.map((_, i) => i));
          expect(Math.min(...dealt.map((own) => own.length))).toBeGreaterThan(0);
        },
      ),
      { seed: 7 },
    );
  });

  test("deals the same for the same seed", () => {
    expect(deal(labelsOf([20, 30]), 4)).toEqual(deal(labelsOf([20, 30]), 4));
  });

  test("refuses more clients than examples with the bound", () => {
    expect(() => deal(labelsOf([2, 1]), 4)).toThrow("feasible are at most 3 clients");
  });
});

test.each([0, -1, Number.NaN])("alpha %d is refused", (alpha) => {
  expect(() => dealDirichlet(labelsOf([9]), { clients: 2, alpha }, rng())).toThrow(
    `alpha must be above 0, got ${alpha}`,
  );
});

test("a minimum that cannot be is refused with what can", () => {
  expect(() => dealDirichlet(labelsOf([10]), { clients: 3, alpha: 1, minPerClient: 4 }, rng())).toThrow(
    "feasible are at most 3 examples a client, or 2 clients",
  );
  const dealt = dealDirichlet(labelsOf([10]), { clients: 3, alpha: 0.05, minPerClient: 3 }, rng());
  expect(Math.min(...dealt.map((own) => own.length))).toBe(3);
});

test("a small alpha gathers labels at few clients, a large one spreads them evenly", () => {
  const labels = labelsOf([500, 500]);
  const largestShare = (alpha: number): number => {
    const dealt = dealDirichlet(labels, { clients: 5, alpha }, rng());
    return Math.max(...dealt.map((own) => own.filter((i) => i < 500).length)) / 500;
  };
  expect(largestShare(0.05)).toBeGreaterThan(0.6);
  // A share of Dirichlet(1e4 x 5) is 0.2 with std sqrt(0.2·0.8/50001) = 0.0018; 0.01 more is above 5 std.
  expect(largestShare(10_000)).toBeLessThan(0.21);
});

test("label shards give each client at most as many labels as shards, where shards fit the labels", () => {
  const dealt = dealLabelShards(labelsOf([20, 20, 20, 20]), { clients: 4, shardsPerClient: 2 }, rng());
  for (const own of dealt) expect(new Set(own.map((i) => Math.floor(i / 20))).size).toBeLessThanOrEqual(2);
});

test("a natural id stays whole, and sizes stay near each other", () => {
  const ids = labelsOf([8, 5, 4, 3]);
  const dealt = dealNaturally(ids, { clients: 2 }, rng());
  expect(new Set(dealt.map((own) => own.length))).toEqual(new Set([9, 11])); // 8 + 3 and 5 + 4
  for (const id of new Set(ids)) {
    expect(dealt.filter((own) => own.some((i) => ids[i] === id))).toHaveLength(1);
  }
  expect(() => dealNaturally(ids, { clients: 5 }, rng())).toThrow("feasible are at most 4 clients");
});

test("apportion keeps the total and is off by less than one", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 1 }),
      fc.nat(1000),
      (shares, total) => {
        const sizes = apportion(shares, total);
        const sum = shares.reduce((all, share) => all + share, 0);
        expect(sizes.reduce((all, size) => all + size, 0)).toBe(total);
        for (const [i, size] of sizes.entries())
          expect(Math.abs(size - (shares[i]! / sum) * total)).toBeLessThan(1 + 1e-9);
      },
    ),
    { seed: 3 },
  );
});

test.each([0.3, 1, 4])("gamma draws have mean and variance %d", (shape) => {
  const own = rng();
  const draws = Array.from({ length: 20_000 }, () => gamma(own, shape));
  const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
  const variance = draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0) / draws.length;
  // Std of the mean is sqrt(shape / 20000); of the variance sqrt((2·shape² + 6·shape) / 20000): five of each.
  expect(Math.abs(mean - shape)).toBeLessThan(5 * Math.sqrt(shape / 20_000));
  expect(Math.abs(variance - shape)).toBeLessThan(5 * Math.sqrt((2 * shape ** 2 + 6 * shape) / 20_000));
});

test("Dirichlet shares sum to one, even where every gamma underflows", () => {
  for (const alpha of [1e-8, 0.5, 100]) {
    expect(dirichlet(rng(), alpha, 6).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
  }
});

const two = [Array.from({ length: 60 }, (_, i) => i), Array.from({ length: 40 }, (_, i) => 60 + i)];

test("missing takes exactly the share of texts and of images, never both of one example", () => {
  const kept = keepOf({ name: "missing", rate: 0.3 }, two, rng()).flat();
  expect(kept.filter((keep) => !keep.includes("text"))).toHaveLength(30);
  expect(kept.filter((keep) => !keep.includes("image"))).toHaveLength(30);
  expect(kept.every((keep) => keep.length > 0)).toBe(true);
  expect(() => keepOf({ name: "missing", rate: 0.6 }, two, rng())).toThrow("must be from 0 to 0.5, got 0.6");
});

test("cross makes exactly so many clients image-only and the others text-only", () => {
  const four = [[0], [1], [2], [3]];
  const kept = keepOf({ name: "cross", imageClients: 1 }, four, rng()).map(([keep]) => keep!.join());
  expect(kept.sort()).toEqual(["image", "text", "text", "text"]);
  expect(() => keepOf({ name: "cross", imageClients: 5 }, four, rng())).toThrow("must be from 0 to 4, got 5");
});

test("hybrid lets exactly the share of clients lack text, and as many lack images", () => {
  const ten = Array.from({ length: 10 }, (_, i) => [i]);
  const kept = keepOf({ name: "hybrid", rate: 0.3 }, ten, rng()).map(([keep]) => keep!.join());
  expect(kept.filter((keep) => keep === "image")).toHaveLength(3);
  expect(kept.filter((keep) => keep === "text")).toHaveLength(3);
  expect(kept.filter((keep) => keep === "text,image")).toHaveLength(4);
});

const examples = Array.from({ length: 10 }, (_, i): Example => {
  const options = ["(A) no", "(B) yes", "(C) maybe"];
  return {
    id: `${i}`,
    turns: [
      { role: "user", content: "?" },
      { role: "assistant", content: options[i % 3]! },
    ],
    images: [],
    audios: [],
    options,
  };
});

test("label noise changes exactly the share of answers, each to another option", () => {
  const noisy = withLabelNoise(examples, { rate: 0.4, kind: "symmetric" }, rng());
  const changed = noisy.filter((example, i) => example.turns[1]!.content !== examples[i]!.turns[1]!.content);
  expect(changed).toHaveLength(4);
  for (const example of changed) expect(example.options).toContain(example.turns[1]!.content);
});

test("paired label noise always mistakes a class for the next one", () => {
  const noisy = withLabelNoise(examples, { rate: 1, kind: "pair" }, rng());
  expect(noisy.slice(0, 3).map((example) => example.turns[1]!.content)).toEqual([
    "(B) yes",
    "(C) maybe",
    "(A) no",
  ]);
  expect(noisy[2]!.label).toBe("no");
});

test("label noise refuses examples without options", () => {
  const { options: _, ...plain } = examples[0]!;
  expect(() => withLabelNoise([plain], { rate: 1, kind: "pair" }, rng())).toThrow("two or more options");
});

test("devices are dealt in exact shares", () => {
  const small = { name: "phone", share: 0.5, rank: 4, slowness: 4 };
  const large = { name: "server", share: 0.25, rank: 16, slowness: 1 };
  const dealt = dealDevices([small, large], 6, rng());
  expect(dealt.filter((device) => device.name === "phone")).toHaveLength(4);
  expect(dealt.filter((device) => device.name === "server")).toHaveLength(2);
});

test("absence has the share and the stretches that were asked for", () => {
  const setting = { rounds: 400, clients: 50, away: 0.3, stay: 0.8, stragglers: 0.2, slowness: 5 };
  const trace = drawAvailability(setting, rng());
  const cells = trace.flat();
  const away = cells.filter((cell) => cell === "away").length / cells.length;
  // Correlated draws: variance of the mean is about 0.3·0.7/20000·(1+ρ)/(1-ρ), ρ = 0.8 - 0.086; five std are 0.04.
  expect(Math.abs(away - 0.3)).toBeLessThan(0.04);
  const stayed = trace.slice(1).flatMap((round, r) => round.filter((_, c) => trace[r]![c] === "away"));
  expect(stayed.filter((cell) => cell === "away").length / stayed.length).toBeCloseTo(0.8, 1);
  const here = cells.filter((cell) => cell !== "away");
  expect(here.filter((cell) => cell === 5).length / here.length).toBeCloseTo(0.2, 1);
});

test("absence that cannot be so frequent in so short stretches is refused with the bound", () => {
  const setting = { rounds: 2, clients: 2, away: 0.9, stay: 0.1, stragglers: 0, slowness: 1 };
  // leave = 0.9·0.9/0.1 > 1; leave = 1 at stay = (2·0.9 - 1)/0.9 = 0.889
  expect(() => drawAvailability(setting, rng())).toThrow("needs stay of at least 0.889, got 0.1");
});

test("a trait falls on as many clients as asked for", () => {
  expect(chooseClients(3, 10, rng())).toHaveLength(3);
  expect(() => chooseClients(3, 2, rng())).toThrow("must be from 0 to 2, got 3");
});

test("a sign-flipper sends the opposite change, a scaler a larger one, tensor by tensor", () => {
  const global = tensorSet([
    ["a", float32([2], [1, 1])],
    ["b", float32([1, 1], [0])],
  ]);
  const honest = tensorSet([
    ["a", float32([2], [2, 0])],
    ["b", float32([1, 1], [3])],
  ]);
  const sent = (kind: "sign-flip" | "scale" | "noise", strength: number) =>
    poisonedUpdate(kind, global, honest, strength, rng());
  // a: 1 - 2·(2-1) = -1, 1 - 2·(0-1) = 3; b: 0 - 2·3 = -6
  expect([...sent("sign-flip", 2).values()].map((tensor) => [...(tensor.data as Float32Array)])).toEqual([
    [-1, 3],
    [-6],
  ]);
  expect([...sent("scale", 10).values()].map((tensor) => [...(tensor.data as Float32Array)])).toEqual([
    [11, -9],
    [30],
  ]);
  // Noise has the honest change's length: |b - 0| = 3.
  expect(Math.abs((sent("noise", 1).get("b")!.data as Float32Array)[0]!)).toBeCloseTo(3, 5);
});
