/** Averages of low-rank adapters: which of them are exact, and by how much the others miss. */
import { describe, expect, test } from "vitest";
import { type Adapter, type AdapterConfig, scaleOf } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import { handOut } from "../../adapters/hand-out.ts";
import { stackOnBase } from "../../adapters/side-factors.ts";
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { modulesOf } from "../../aggregators/modules.ts";
import type { AggregateResult } from "../../aggregators/strategy.ts";
import type { UpdateEntry } from "../../aggregators/updates.ts";
import { createRng } from "../../base/rng.ts";
import { aggregateOnce, CONFIG, dense, entry } from "../aggregators/small.ts";

const SIZES: Readonly<Record<string, readonly [out: number, width: number]>> = {
  "layers.0.q_proj": [6, 9],
  "layers.1.v_proj": [8, 5],
};

function lora(seed: string, rank: number, alpha: number, shared: { readonly a?: string } = {}): Adapter {
  const config: AdapterConfig = { ...CONFIG, rank, alpha, targets: ["q_proj", "v_proj"] };
  const draw = (label: string, rows: number, cols: number) => {
    const rng = createRng(label);
    return {
      dtype: "F64" as const,
      shape: [rows, cols],
      data: Float64Array.from({ length: rows * cols }, () => rng.normal()),
    };
  };
  const tensors = Object.entries(SIZES).flatMap(([path, [out, width]]) => [
    [`base_model.model.${path}.lora_A.weight`, draw(`${shared.a ?? seed} a ${path}`, rank, width)] as const,
    [`base_model.model.${path}.lora_B.weight`, draw(`${seed} b ${path}`, out, rank)] as const,
  ]);
  return { config, tensors: tensorSet(tensors) };
}

function updateOf(client: string, examples: number, { config, tensors }: Adapter): UpdateEntry {
  return entry({ client, examples, steps: 1, touched: {}, metrics: {}, adapter: config }, tensors);
}

function products({ config, tensors }: Adapter): Record<string, number[]> {
  return Object.fromEntries(
    modulesOf(tensors.keys()).pairs.map(({ module, a, b }) => [
      module,
      dense(tensors.get(b)!, tensors.get(a)!, scaleOf(config, module)),
    ]),
  );
}

/** Adapter and what was added to the base, as one. */
function whole({ global, baseDelta }: AggregateResult): Record<string, number[]> {
  return products(baseDelta === undefined ? global : stackOnBase(global, baseDelta.tensors));
}

function meanOf(parts: readonly (readonly [share: number, adapter: Adapter])[]): Record<string, number[]> {
  const all = parts.map(([share, adapter]) => [share, products(adapter)] as const);
  return Object.fromEntries(
    Object.keys(SIZES).map((path) => [
      path,
      all[0]![1][path]!.map((_, i) => all.reduce((sum, [share, dense]) => sum + share * dense[path]![i]!, 0)),
    ]),
  );
}

function apart(x: Readonly<Record<string, number[]>>, y: Readonly<Record<string, number[]>>): number {
  return Math.hypot(...Object.keys(x).flatMap((path) => x[path]!.map((value, i) => value - y[path]![i]!)));
}

/** Sums of 18 terms and an SVD in float64. */
const EXACT = 1e-10;

const start = lora("start", 2, 4);
const clients = ["c0", "c1", "c2"].map((name) => lora(name, 2, 4));
const weighted = clients.map((adapter, k) => updateOf(`c${k}`, 10 * (k + 1), adapter));
const weightedMean = meanOf(clients.map((adapter, k) => [(k + 1) / 6, adapter] as const));
const uniformMean = meanOf(clients.map((adapter) => [1 / 3, adapter] as const));

describe("Zhang et al. 2023 (FedIT) and its error", () => {
  test("the product of the averages is not the average of the products; the error is reported", () => {
    const result = aggregateOnce({ name: "fedit" }, start, weighted);
    const missed = apart(whole(result), weightedMean);
    const size = Math.hypot(...Object.values(weightedMean).flat());
    expect(result.report.productError).toBeCloseTo(missed / size, 12);
    expect(result.report.productError).toBeGreaterThan(0.1);
  });
});

describe("Sun et al. 2024, Improving LoRA in Privacy-preserving Federated Learning (FFA-LoRA)", () => {
  test('"The core idea of FFA-LoRA is to fix the randomly initialized non-zero matrices and only fine-tune the zero-initialized matrices": the average is exact', () => {
    const common = ["c0", "c1", "c2"].map((name) => lora(name, 2, 4, { a: "start" }));
    const entries = common.map((adapter, k) => updateOf(`c${k}`, 10 * (k + 1), adapter));
    const result = aggregateOnce({ name: "ffa-lora" }, start, entries);
    expect(
      apart(whole(result), meanOf(common.map((adapter, k) => [(k + 1) / 6, adapter] as const))),
    ).toBeLessThan(EXACT);
    for (const [name, value] of start.tensors) {
      if (name.includes("lora_A")) expect(result.global.tensors.get(name)).toBe(value);
    }
  });

  test('"further halve the communication cost": A does not travel and an A that is sent changes nothing', () => {
    const result = aggregateOnce({ name: "ffa-lora" }, start, weighted);
    for (const [name, value] of start.tensors)
      if (name.includes("lora_A")) expect(result.global.tensors.get(name)).toBe(value);
  });
});

describe("Chen et al. 2024 (RoLoRA)", () => {
  test("alternates: B in odd rounds, A in even ones, each exactly given the other", () => {
    const odd = aggregateOnce({ name: "rolora" }, start, weighted, { round: 1 });
    const even = aggregateOnce({ name: "rolora" }, start, weighted, { round: 2 });
    for (const [name, value] of start.tensors) {
      expect(odd.global.tensors.get(name) === value).toBe(name.includes("lora_A"));
      expect(even.global.tensors.get(name) === value).toBe(name.includes("lora_B"));
    }
  });
});

describe("Wang et al. 2024, FLoRA", () => {
  const mixed = [lora("c0", 1, 2), lora("c1", 4, 4), lora("c2", 3, 9)];
  const entries = mixed.map((adapter, k) => updateOf(`c${k}`, 10 * (k + 1), adapter));

  test('"Our approach is noise-free and seamlessly supports heterogeneous LoRA adapters"', () => {
    const result = aggregateOnce({ name: "flora" }, start, entries);
    expect(
      apart(whole(result), meanOf(mixed.map((adapter, k) => [(k + 1) / 6, adapter] as const))),
    ).toBeLessThan(EXACT);
    // Stacked 1 + 4 + 3 = 8; a matrix of 6 x 9 has no more than 6.
    expect(result.report.sideRank).toBe(6);
  });

  test("the next round starts from a fresh adapter, and the base keeps what was added", () => {
    const first = aggregateOnce({ name: "flora" }, start, entries);
    for (const [name, value] of first.global.tensors) {
      if (name.includes("lora_B")) expect(floats(value).every((x) => x === 0)).toBe(true);
      else expect([...floats(value)]).not.toEqual([...floats(start.tensors.get(name)!)]);
    }
    const second = aggregateOnce({ name: "flora" }, first.global, entries, { state: first.state, round: 2 });
    const twice = meanOf(mixed.map((adapter, k) => [(k + 1) / 3, adapter] as const));
    expect(apart(whole(second), twice)).toBeLessThan(EXACT);
  });

  test("beyond its longest rank the sum is the best approximation, not exact any more", () => {
    const result = aggregateOnce({ name: "flora", maxRank: 2 }, start, entries);
    const exact = meanOf(mixed.map((adapter, k) => [(k + 1) / 6, adapter] as const));
    expect(result.report.sideRank).toBe(2);
    expect(apart(whole(result), exact)).toBeGreaterThan(0.1);
    expect(apart(whole(result), exact)).toBeLessThan(Math.hypot(...Object.values(exact).flat()));
  });
});

describe("Bai et al. 2024, FlexLoRA", () => {
  const mixed = [lora("c0", 1, 2), lora("c1", 4, 4), lora("c2", 3, 9)];
  const entries = mixed.map((adapter, k) => updateOf(`c${k}`, 10 * (k + 1), adapter));
  const exact = meanOf(mixed.map((adapter, k) => [(k + 1) / 6, adapter] as const));

  test('"synthesizing a full-size LoRA weight from individual client contributions": with rank enough it is the mean of the products', () => {
    const result = aggregateOnce({ name: "flexlora" }, lora("start", 6, 6), entries);
    expect(apart(whole(result), exact)).toBeLessThan(EXACT);
  });

  test('"employing Singular Value Decomposition (SVD) for weight redistribution": a client of lower rank gets the best of that rank', () => {
    const result = aggregateOnce({ name: "flexlora" }, lora("start", 5, 5), entries);
    const handed = products(handOut(result.global, { rank: 2, alpha: 16 }));
    const best = aggregateOnce({ name: "flexlora" }, lora("start", 2, 2), entries);
    expect(apart(handed, products(best.global))).toBeLessThan(EXACT);
    // Eckart and Young: no other factors of rank 2 come nearer.
    const least = apart(handed, exact);
    const rng = createRng("others");
    for (let trial = 0; trial < 50; trial++) {
      const other = new Map(best.global.tensors) as Map<
        string,
        TensorSet extends ReadonlyMap<string, infer T> ? T : never
      >;
      for (const [name, value] of other) {
        other.set(name, { ...value, data: Float64Array.from(floats(value), (x) => x + 0.05 * rng.normal()) });
      }
      expect(apart(products({ config: best.global.config, tensors: other }), exact)).toBeGreaterThan(least);
    }
  });
});

describe("Singhal et al. 2025, FedEx-LoRA", () => {
  test('"adds a residual error term to the pretrained frozen weight matrix": adapter and base together are exactly the mean', () => {
    const result = aggregateOnce({ name: "fedex-lora" }, start, weighted);
    expect(apart(whole(result), uniformMean)).toBeLessThan(EXACT);
    expect(apart(products(result.global), uniformMean)).toBeGreaterThan(0.1);
    const byExamples = aggregateOnce({ name: "fedex-lora", weights: "examples" }, start, weighted);
    expect(apart(whole(byExamples), weightedMean)).toBeLessThan(EXACT);
  });

  test("the residual has rank (m − 1) r, not that of the weight matrix", () => {
    expect(aggregateOnce({ name: "fedex-lora" }, start, weighted).report.sideRank).toBe(2 * 2);
    expect(aggregateOnce({ name: "fedex-lora" }, start, weighted.slice(0, 2)).report.sideRank).toBe(2);
  });

  test("the residual keeps its digits where clients are so near each other that products no longer tell them apart", () => {
    const SPREAD = 1e-7;
    const near = ["c0", "c1", "c2"].map((name) => {
      const step = lora(name, 2, 4);
      const tensors = [...start.tensors].map(([key, value]) => {
        const by = floats(step.tensors.get(key)!);
        return [
          key,
          { ...value, data: Float64Array.from(floats(value), (x, i) => x + SPREAD * by[i]!) },
        ] as const;
      });
      return { config: start.config, tensors: tensorSet(tensors) };
    });
    const result = aggregateOnce(
      { name: "fedex-lora" },
      start,
      near.map((adapter, k) => updateOf(`c${k}`, 10, adapter)),
    );
    // Σ p_k (B_k − B̄)(A_k − Ā), of size 1e-14: products themselves are rounded at 1e-16.
    const apartFrom = near.map(({ config, tensors }) => ({
      config,
      tensors: tensorSet(
        [...tensors].map(([key, value]) => {
          const mean = floats(result.global.tensors.get(key)!);
          return [key, { ...value, data: Float64Array.from(floats(value), (x, i) => x - mean[i]!) }] as const;
        }),
      ),
    }));
    const wanted = meanOf(apartFrom.map((adapter) => [1 / 3, adapter] as const));
    const residual = products(
      stackOnBase({ ...result.global, tensors: zeroB(result.global.tensors) }, result.baseDelta!.tensors),
    );
    expect(apart(residual, wanted)).toBeLessThan(1e-6 * Math.hypot(...Object.values(wanted).flat()));
  });

  test("stays exact over rounds: the base holds all residuals so far", () => {
    const first = aggregateOnce({ name: "fedex-lora" }, start, weighted);
    const second = aggregateOnce({ name: "fedex-lora" }, first.global, weighted, {
      state: first.state,
      round: 2,
    });
    // The base of round 2 is what round 1 left; the clients' products are the same again.
    const residual = products(
      stackOnBase({ ...first.global, tensors: zeroB(first.global.tensors) }, first.baseDelta!.tensors),
    );
    const wanted = Object.fromEntries(
      Object.entries(uniformMean).map(([path, values]) => [
        path,
        values.map((value, i) => value + residual[path]![i]!),
      ]),
    );
    expect(apart(whole(second), wanted)).toBeLessThan(EXACT);
  });
});

function zeroB(tensors: TensorSet): TensorSet {
  return new Map(
    [...tensors].map(([name, value]) => [
      name,
      name.includes("lora_B") ? { ...value, data: new Float64Array(value.data.length) } : value,
    ]),
  );
}

describe("Bian et al. 2025, LoRA-FAIR", () => {
  test("the corrected B minimizes ||ΔW − B Ā||² + λ ||B − B̄||²: the gradient is zero there", () => {
    const lambda = 0.3;
    const plainly = aggregateOnce({ name: "fedavg" }, start, weighted).global;
    const fair = aggregateOnce({ name: "lora-fair", lambda }, start, weighted).global;
    for (const { module, a, b } of modulesOf(start.tensors.keys()).pairs) {
      const scale = scaleOf(start.config, module);
      const width = start.tensors.get(a)!.shape[1]!;
      const residual = dense(fair.tensors.get(b)!, fair.tensors.get(a)!).map(
        (value, i) => value - weightedMean[module]![i]! / scale,
      );
      const [rows, rank] = fair.tensors.get(b)!.shape as [number, number];
      const [values, before, factor] = [
        fair.tensors.get(b)!,
        plainly.tensors.get(b)!,
        fair.tensors.get(a)!,
      ].map(floats);
      for (let i = 0; i < rows; i++) {
        for (let r = 0; r < rank; r++) {
          let gradient = lambda * (values![i * rank + r]! - before![i * rank + r]!);
          for (let j = 0; j < width; j++) gradient += residual[i * width + j]! * factor![r * width + j]!;
          expect(Math.abs(gradient)).toBeLessThan(EXACT);
        }
      }
    }
  });

  test("brings the product nearer to the mean of the products than averaging apart", () => {
    const plainly = apart(products(aggregateOnce({ name: "fedavg" }, start, weighted).global), weightedMean);
    expect(
      apart(products(aggregateOnce({ name: "lora-fair" }, start, weighted).global), weightedMean),
    ).toBeLessThan(plainly);
  });
});

describe("Cho et al. 2024 (HetLoRA) and the rank-wise mean of FediLoRA", () => {
  test("zero padding thins the rows that few clients have; the rank-wise mean does not", () => {
    const small = lora("same", 1, 1);
    const large = lora("same", 3, 3);
    const entries = [updateOf("c0", 10, small), updateOf("c1", 10, large)];
    const global = lora("start", 3, 3);
    const name = "base_model.model.layers.0.q_proj.lora_A.weight";
    const lastRow = (spec: string) => {
      const values = floats(aggregateOnce({ name: spec }, global, entries).global.tensors.get(name)!);
      return [...values.slice(2 * 9)];
    };
    const own = [...floats(large.tensors.get(name)!).slice(2 * 9)];
    for (const [i, value] of lastRow("rank-wise-mean").entries()) expect(value).toBeCloseTo(own[i]!, 12);
    expect(Math.hypot(...lastRow("hetlora"))).toBeLessThan(0.95 * Math.hypot(...own));
  });
});
