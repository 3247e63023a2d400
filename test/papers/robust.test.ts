/** Krum, Bulyan, RFA and their kin: what the papers say, against attackers that send anything. */
import { describe, expect, test } from "vitest";
import { floats } from "../../adapters/cast.ts";
import type { UpdateEntry } from "../../aggregators/updates.ts";
import { createRng } from "../../base/rng.ts";
import { adapter, aggregateOnce, plain, update } from "../aggregators/small.ts";

const global = adapter({ a: [[0, 0, 0]], b: [0, 0] });

/** Honest clients near (1, 1, 1 | 2, 2). */
function honest(count: number, spread = 0.1): UpdateEntry[] {
  return Array.from({ length: count }, (_, k) => {
    const rng = createRng(`honest ${k}`);
    const near = (value: number) => value + spread * (rng.uniform() - 0.5);
    return update(`h${k}`, 10, { a: [[near(1), near(1), near(1)]], b: [near(2), near(2)] });
  });
}

function attackers(count: number, value: number): UpdateEntry[] {
  return Array.from({ length: count }, (_, k) =>
    update(`x${k}`, 1000, { a: [[value, -value, value]], b: [value, value] }),
  );
}

function vector(
  spec: { name: string; [option: string]: unknown },
  entries: readonly UpdateEntry[],
): number[] {
  return [...aggregateOnce(spec, global, entries).global.tensors.values()].flatMap((value) => [
    ...floats(value),
  ]);
}

const TARGET = [1, 1, 1, 2, 2];
const distance = (x: readonly number[], y: readonly number[]) =>
  Math.hypot(...x.map((value, i) => value - y[i]!));

describe("Blanchard et al. 2017, Machine Learning with Adversaries (Krum)", () => {
  test('"no gradient descent update rule based on a linear combination of the vectors proposed by the workers [...] tolerates a single Byzantine failure"', () => {
    // The attacker chooses the mean: it sends n·u − Σ of the others, and u comes out.
    const wish = [[-7, 5, 9]];
    const others = honest(6, 0);
    const sent = wish[0]!.map((value) => 7 * value - 6 * 1);
    const entries = [...others, update("x0", 10, { a: [sent], b: [2, 2] })];
    const mean = plain(aggregateOnce({ name: "fedavg" }, global, entries).global.tensors).a!;
    for (const [i, value] of mean.entries()) expect(value).toBeCloseTo(wish[0]![i]!, 12);
    expect(distance(vector({ name: "krum", byzantine: 1 }, entries), TARGET)).toBeLessThan(0.2);
  });

  test("the score of V_i is the sum of the squared distances to its n − f − 2 closest vectors; the least wins", () => {
    // n = 5, f = 1: two nearest each. Positions 0, 1, 3, 4, 100 on a line:
    // 0: 1+9 = 10, 1: 1+4 = 5, 3: 1+4 = 5, 4: 1+9 = 10, 100: 96²+97². Tie of 1 and 3 goes to the first.
    const entries = [0, 1, 3, 4, 100].map((x, k) => update(`c${k}`, 1, { a: [[x, 0, 0]], b: [0, 0] }));
    expect(vector({ name: "krum", byzantine: 1 }, entries)).toEqual([1, 0, 0, 0, 0]);
  });

  test("chooses an honest client under f attackers that collude far away", () => {
    for (const value of [1e2, 1e6, -1e9]) {
      const entries = [...honest(7), ...attackers(2, value)];
      expect(distance(vector({ name: "krum", byzantine: 2 }, entries), TARGET)).toBeLessThan(0.2);
    }
  });

  test("Multi-Krum averages the m best and is nearer to the mean of the honest than Krum", () => {
    const entries = [...honest(9, 0.5), ...attackers(2, 50)];
    const wanted = vector({ name: "fedavg" }, honest(9, 0.5));
    const krum = distance(vector({ name: "krum", byzantine: 2 }, entries), wanted);
    expect(distance(vector({ name: "krum", byzantine: 2, select: 7 }, entries), wanted)).toBeLessThan(krum);
  });

  test("picks the right client where weights are large and updates small", () => {
    // Weights of 30, updates of 1e-4: the form ||x||² + ||y||² − 2⟨x,y⟩ in float32 has no digits left for them.
    const base = adapter({ a: [[30, 30, 30]], b: [30, 30] });
    const steps = [1e-4, 1.1e-4, 1.2e-4, 5e-4, -5e-4];
    const entries = steps.map((d, k) =>
      update(`c${k}`, 1, { a: [[30 + d, 30 + d, 30 + d]], b: [30 + d, 30] }),
    );
    const chosen = aggregateOnce({ name: "krum", byzantine: 1 }, base, entries).report;
    expect(Object.keys(chosen).filter((key) => key.startsWith("selected."))).toEqual(["selected.c1"]);
  });
});

describe("El Mhamdi et al. 2018, The Hidden Vulnerability of Distributed Learning in Byzantium (Bulyan)", () => {
  test('"each i-th coordinate of G is equal to the average of the β closest i-th coordinates to the median i-th coordinate of the θ selected gradients"', () => {
    // n = 7, f = 1: θ = 5 chosen, β = 3. The far two are never chosen together with five near ones.
    const xs = [0, 1, 2, 3, 10, 11, 500];
    const entries = xs.map((x, k) => update(`c${k}`, 1, { a: [[x, -x, 0]], b: [2 * x, 0] }));
    const { report, global: next } = aggregateOnce({ name: "bulyan", byzantine: 1 }, global, entries);
    const chosen = xs.filter((_, k) => report[`selected.c${k}`] === 1).sort((a, b) => a - b);
    expect(chosen).toHaveLength(5);
    expect(chosen).not.toContain(500);
    const median = chosen[2]!;
    const nearest = [...chosen].sort((a, b) => Math.abs(a - median) - Math.abs(b - median)).slice(0, 3);
    const wanted = nearest.reduce((sum, x) => sum + x, 0) / 3;
    expect(plain(next.tensors)).toEqual({ a: [wanted, -wanted, 0], b: [2 * wanted, 0] });
  });

  test("one coordinate of an attacker that stays near elsewhere gets nowhere, while it rides along in Krum's choice of distance", () => {
    // The attack of the paper: close in most coordinates, far in one.
    const entries = [...honest(6), update("x0", 10, { a: [[1, 1, 1.6]], b: [2, 2] })];
    expect(Math.abs(vector({ name: "bulyan", byzantine: 1 }, entries)[2]! - 1)).toBeLessThan(0.05);
  });
});

describe("Pillutla et al. 2022, Robust Aggregation for Federated Learning (RFA)", () => {
  const objective = (z: readonly number[], points: readonly (readonly number[])[]) =>
    points.reduce((sum, point) => sum + distance(z, point), 0);

  test('"a robust aggregation oracle based on the geometric median": no other point has a smaller sum of distances', () => {
    const entries = [...honest(5, 1), ...attackers(2, 20)];
    const points = entries.map(({ tensors }) =>
      tensors.names.flatMap((name) => [...floats(tensors.read(name))]),
    );
    const z = vector({ name: "rfa", preset: "converged", weights: "uniform" }, entries);
    const least = objective(z, points);
    const rng = createRng("directions");
    for (let trial = 0; trial < 200; trial++) {
      const other = z.map((value) => value + 0.01 * rng.normal());
      expect(objective(other, points)).toBeGreaterThan(least);
    }
  });

  test('"using a constant number of iterations of a regular non-robust averaging oracle": each step lowers the objective', () => {
    const entries = [...honest(5, 1), ...attackers(2, 20)];
    const points = entries.map(({ tensors }) =>
      tensors.names.flatMap((name) => [...floats(tensors.read(name))]),
    );
    const after = [1, 2, 3, 4, 8].map((iterations) =>
      objective(vector({ name: "rfa", iterations, weights: "uniform" }, entries), points),
    );
    for (const [i, value] of after.entries()) if (i > 0) expect(value).toBeLessThan(after[i - 1]!);
  });

  test("attackers below one half move it by a bounded amount, however far they go", () => {
    const moved = [1e3, 1e6, 1e9].map((value) =>
      distance(
        vector({ name: "rfa", preset: "converged", weights: "uniform" }, [
          ...honest(5),
          ...attackers(2, value),
        ]),
        TARGET,
      ),
    );
    for (const value of moved) expect(value).toBeLessThan(1);
  });
});

describe("Yin et al. 2018, Byzantine-Robust Distributed Learning", () => {
  test("coordinate-wise median: fewer than half arbitrary values never leave the range of the honest", () => {
    for (const value of [1e3, -1e12]) {
      const result = vector({ name: "median" }, [...honest(4), ...attackers(3, value)]);
      for (const [i, x] of result.entries()) expect(Math.abs(x - TARGET[i]!)).toBeLessThan(0.06);
    }
  });

  test("coordinate-wise trimmed mean: the β share at each end is dropped", () => {
    const entries = [1, 2, 3, 4, 100].map((x, k) => update(`c${k}`, 1, { a: [[x, x, x]], b: [x, -x] }));
    expect(vector({ name: "trimmed-mean", beta: 0.2 }, entries)).toEqual([3, 3, 3, 3, -3]);
  });
});

describe("Karimireddy et al. 2021, Learning from History for Byzantine Robust Optimization", () => {
  test("an attacker moves the aggregate by at most τ/n in one iteration", () => {
    const without = vector({ name: "centered-clipping", radius: 0.5 }, honest(9, 0));
    const entries = [...honest(9, 0), ...attackers(1, 1e9)];
    const moved = distance(vector({ name: "centered-clipping", radius: 0.5 }, entries), without);
    // nine of ten clipped steps of 0.5 in the honest direction and one anywhere: at most 2·0.5/10 apart
    expect(moved).toBeLessThanOrEqual(0.1 + 1e-12);
  });
});
