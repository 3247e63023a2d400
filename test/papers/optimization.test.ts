/** FedAvg, FedOpt, SCAFFOLD, FedNova, FedDyn, FedProx, q-FedAvg: what the papers say, checked where it can be computed. */
import { describe, expect, test } from "vitest";
import { adapter, aggregateOnce, plain, update } from "../aggregators/small.ts";
import { type Client, optimumOf, train } from "./quadratics.ts";

describe("McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from Decentralized Data", () => {
  test('Algorithm 1: "w_{t+1} ← Σ_{k=1}^K (n_k/n) w_{t+1}^k"', () => {
    const out = aggregateOnce({ name: "fedavg" }, adapter({ a: [0, 0], b: [0] }), [
      update("c1", 100, { a: [1, 1], b: [2] }),
      update("c2", 300, { a: [5, 5], b: [6] }),
    ]);
    // (100·1 + 300·5) / 400 = 4      (100·2 + 300·6) / 400 = 5
    expect(plain(out.global.tensors)).toEqual({ a: [4, 4], b: [5] });
  });

  test("with one local step on all data it is a step of gradient descent on the weighted objective (FedSGD)", () => {
    const clients: Client[] = [
      { curvature: 1, optimum: 4, steps: 1, examples: 30 },
      { curvature: 3, optimum: -2, steps: 1, examples: 10 },
    ];
    // One step of size 0.1 on 0.75·(w−4)²/2 + 0.25·3(w+2)²/2 from 0: 0.1·(0.75·4 − 0.25·3·2) = 0.15
    for (const value of train({ name: "fedavg" }, clients, { rounds: 1, learningRate: 0.1 })) {
      expect(value).toBeCloseTo(0.15, 12);
    }
  });
});

describe("Reddi et al. 2021, Adaptive Federated Optimization, Algorithm 2", () => {
  // Δ = Σ p_k w_k − w: clients at 3 and 1 with equal counts, global at 1 → Δ = 1; second tensor: −2
  const global = adapter({ a: [1], b: [[4, 4]] });
  const entries = [update("c1", 5, { a: [3], b: [[1, 1]] }), update("c2", 5, { a: [1], b: [[3, 3]] })];
  const settings = { learningRate: 0.5, beta1: 0.9, beta2: 0.99, tau: 0.1 };
  const once = (name: string, options: object = settings) => {
    const { global: next, state } = aggregateOnce({ name, preset: "paper", ...options }, global, entries);
    return { weights: plain(next.tensors), m: plain(state.tensors.m!), v: plain(state.tensors.v!) };
  };

  test('"m_t = β_1 m_{t−1} + (1 − β_1) Δ_t", without bias correction', () => {
    const { m } = once("fedadam");
    expect(m.a![0]).toBeCloseTo(0.1, 14);
    expect(m.b![0]).toBeCloseTo(-0.2, 14);
  });

  test('"v_{−1} ≥ τ²" and "v_t = v_{t−1} + Δ_t² (FedAdagrad)"', () => {
    const { v } = once("fedadagrad", { learningRate: 0.5, tau: 0.1 });
    expect(v.a![0]).toBeCloseTo(0.01 + 1, 14);
    expect(v.b![1]).toBeCloseTo(0.01 + 4, 14);
  });

  test('"v_t = v_{t−1} − (1 − β_2) Δ_t² sign(v_{t−1} − Δ_t²) (FedYogi)"', () => {
    const { v } = once("fedyogi");
    expect(v.a![0]).toBeCloseTo(0.01 + 0.01 * 1, 14); // v below Δ²: the sign is −1
    expect(v.b![0]).toBeCloseTo(0.01 + 0.01 * 4, 14);
  });

  test('"v_t = β_2 v_{t−1} + (1 − β_2) Δ_t² (FedAdam)"', () => {
    const { v } = once("fedadam");
    expect(v.a![0]).toBeCloseTo(0.99 * 0.01 + 0.01 * 1, 14);
  });

  test('"x_{t+1} = x_t + η m_t / (√v_t + τ)"', () => {
    const { weights } = once("fedadam");
    expect(weights.a![0]).toBeCloseTo(1 + (0.5 * 0.1) / (Math.sqrt(0.0199) + 0.1), 14);
    expect(weights.b![1]).toBeCloseTo(4 - (0.5 * 0.2) / (Math.sqrt(0.99 * 0.01 + 0.04) + 0.1), 14);
  });
});

/** Clients that disagree and differ in curvature: local steps pull each to its own optimum. */
const DRIFTING: Client[] = [
  { curvature: 1, optimum: 10, steps: 5, examples: 10 },
  { curvature: 4, optimum: -1, steps: 5, examples: 10 },
  { curvature: 2, optimum: 3, steps: 5, examples: 10 },
];

describe("Karimireddy et al. 2020, SCAFFOLD, Algorithm 1", () => {
  test('"c_i⁺ ← c_i − c + (1/(K η_l)) (x − y_i)", "x ← x + η_g Δx and c ← c + (|S|/N) Δc"', () => {
    const global = adapter({ a: [1, 1], b: [2] });
    const spec = { name: "scaffold", learningRate: 0.5, clientLearningRate: 0.1 };
    const entries = [
      update("c1", 9, { a: [3, 1], b: [2] }, { steps: 4 }),
      update("c2", 1, { a: [1, 5], b: [6] }, { steps: 2 }),
    ];
    const { global: next, state } = aggregateOnce(spec, global, entries, { totalClients: 8 });
    // Unweighted mean of (2,0) and (0,4), halved by η_g = 0.5
    expect(plain(next.tensors)).toEqual({ a: [1.5, 2], b: [3] });
    // c_1⁺ = (1−3)/(4·0.1) = −5, c_2⁺ = (1−5)/(2·0.1) = −20; c = (2/8)·mean = (−5 + 0)/8, (0 − 20)/8
    expect(plain(state.tensors["client:c1"]!).a![0]).toBeCloseTo(-5, 12);
    expect(plain(state.tensors["client:c2"]!).a![1]).toBeCloseTo(-20, 12);
    expect(plain(state.tensors.control!).a![0]).toBeCloseTo(-5 / 8, 12);
    expect(plain(state.tensors.control!).a![1]).toBeCloseTo(-20 / 8, 12);
  });

  test("converges to the optimum of the mean where FedAvg's clients drift", () => {
    const options = { rounds: 400, learningRate: 0.1 };
    const best = optimumOf(DRIFTING);
    for (const value of train({ name: "scaffold" }, DRIFTING, options)) expect(value).toBeCloseTo(best, 8);
    for (const value of train({ name: "fedavg" }, DRIFTING, options)) {
      expect(Math.abs(value - best)).toBeGreaterThan(0.3);
    }
  });

  test("converges with partial participation too", () => {
    const options = {
      rounds: 3000,
      learningRate: 0.05,
      cohort: (round: number) => [round % 3, (round + 1) % 3],
    };
    for (const value of train({ name: "scaffold" }, DRIFTING, options)) {
      expect(value).toBeCloseTo(optimumOf(DRIFTING), 6);
    }
  });
});

describe("Acar et al. 2021, Federated Learning Based on Dynamic Regularization", () => {
  test("the local optima's terms agree with the global one: it converges where FedAvg does not", () => {
    // Enough local steps to solve the regularized problem, as the paper's clients do.
    const solving = DRIFTING.map((client) => ({ ...client, steps: 400 }));
    const options = { rounds: 400, learningRate: 0.05 };
    for (const value of train({ name: "feddyn", alpha: 0.5 }, solving, options)) {
      expect(value).toBeCloseTo(optimumOf(solving), 6);
    }
  });
});

describe("Wang et al. 2020, Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization", () => {
  test('"Naive weighted aggregation of such models causes objective inconsistency"; FedNova is "a normalized averaging method that eliminates objective inconsistency"', () => {
    // Equal curvatures, so that FedAvg's bias comes from the numbers of steps alone.
    const uneven: Client[] = [
      { curvature: 1, optimum: 6, steps: 1, examples: 10 },
      { curvature: 1, optimum: 0, steps: 20, examples: 20 },
    ];
    const options = { rounds: 4000, learningRate: 1e-3 };
    const best = optimumOf(uneven, ({ examples }) => examples); // (10·6 + 20·0) / 30 = 2
    expect(best).toBeCloseTo(2, 12);
    for (const value of train({ name: "fednova" }, uneven, options))
      expect(Math.abs(value - best)).toBeLessThan(0.05);
    for (const value of train({ name: "fedavg" }, uneven, options)) expect(value).toBeLessThan(0.4);
  });

  test("with equal steps everywhere it is FedAvg", () => {
    const options = { rounds: 3, learningRate: 0.1 };
    const [nova] = train({ name: "fednova" }, DRIFTING, options);
    expect(nova).toBeCloseTo(train({ name: "fedavg" }, DRIFTING, options)[0]!, 12);
  });

  test("with momentum ρ, ||a||₁ = [τ − ρ(1 − ρ^τ)/(1 − ρ)] / (1 − ρ) (section 3)", () => {
    const rho = 0.9;
    const norm = (steps: number) => (steps - (rho * (1 - rho ** steps)) / (1 - rho)) / (1 - rho);
    const entries = [
      update("c1", 1, { a: [1, 1], b: [1] }, { steps: 3 }),
      update("c2", 1, { a: [2, 2], b: [2] }, { steps: 7 }),
    ];
    const out = aggregateOnce({ name: "fednova", momentum: rho }, adapter({ a: [0, 0], b: [0] }), entries);
    const effective = (norm(3) + norm(7)) / 2;
    expect(plain(out.global.tensors).b![0]).toBeCloseTo(effective * 0.5 * (1 / norm(3) + 2 / norm(7)), 12);
  });
});

describe("Li et al. 2020, Federated Optimization in Heterogeneous Networks (FedProx)", () => {
  test("the proximal term holds clients near the global adapter: its fixed point lies nearer to the optimum", () => {
    const options = { rounds: 2000, learningRate: 0.05 };
    const best = optimumOf(DRIFTING);
    const far = DRIFTING.map((client) => ({ ...client, steps: 30 }));
    const [free] = train({ name: "fedavg" }, far, options);
    const [held] = train({ name: "fedprox", mu: 10 }, far, options);
    expect(Math.abs(held! - best)).toBeLessThan(Math.abs(free! - best) / 2);
  });
});

describe("Li et al. 2020, Fair Resource Allocation in Federated Learning (q-FFL)", () => {
  const global = adapter({ a: [0, 0], b: [0] });
  const entries = (bad: number) => [
    update("c1", 1, { a: [1, 1], b: [1] }, { metrics: { lossBefore: bad } }),
    update("c2", 9, { a: [-1, -1], b: [-1] }, { metrics: { lossBefore: 1 } }),
  ];

  test("q = 0 is the plain mean, whatever the losses", () => {
    const out = aggregateOnce({ name: "qfedavg", q: 0 }, global, entries(7));
    expect(plain(out.global.tensors).a![0]).toBeCloseTo(0, 14);
  });

  test("Δ_k = F_k^q g_k, h_k = q F_k^{q−1} ||g_k||² + L F_k^q, w ← w − Σ Δ_k / Σ h_k (Algorithm 2)", () => {
    const out = aggregateOnce({ name: "qfedavg", q: 1, learningRate: 0.1 }, global, entries(4));
    // L = 10, ||g_k||² = 100 · 3; Σ h = (300 + 40) + (300 + 10) = 650; Σ F_k L d_k = 40 − 10 in each coordinate
    for (const value of Object.values(plain(out.global.tensors)).flat())
      expect(value).toBeCloseTo(30 / 650, 9);
  });

  test("example counts do not enter", () => {
    const out = aggregateOnce({ name: "qfedavg", q: 1 }, global, entries(1));
    expect(plain(out.global.tensors).b![0]).toBeCloseTo(0, 14);
  });
});
